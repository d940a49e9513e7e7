package sm

import (
	"slices"
	"time"

	"ipoib/rdma/mad"
)

// service is a registered service.
type service struct {
	rec mad.ServiceRecord
	// expires is the end of the lease, zero for one without end.
	expires time.Time
}

// now is when the lease of a record is counted from.
func (v *service) lease(now time.Time) mad.ServiceRecord {
	rec := v.rec
	if !v.expires.IsZero() {
		rec.Lease = uint32(max(v.expires.Sub(now)/time.Second, 0))
	}
	return rec
}

// sameRID reports whether two records are of one registration: ServiceID,
// ServiceGID and P_Key (IBA 15.2.5.14).
func sameRID(a, b *mad.ServiceRecord) bool {
	return a.ServiceID == b.ServiceID && a.ServiceGID == b.ServiceGID && a.PKey == b.PKey
}

// maxServices bounds the registrations.
const maxServices = 1 << 16

// saServiceSet registers a service, or renews it.
func (s *SM) saServiceSet(r *saRequest) ([]mad.Attribute, mad.Status) {
	rec, ok := s.decodeServiceLocked(r)
	if !ok || !r.mask.Has(mad.SRServiceID|mad.SRServiceGID) {
		return nil, mad.SAStatusReqInvalid
	}
	if !r.mask.Has(mad.SRServiceLease) {
		rec.Lease = mad.ServiceLeaseForever
	}
	s.expireServicesLocked()
	v := &service{rec: *rec}
	if rec.Lease != mad.ServiceLeaseForever {
		v.expires = s.clock.Now().Add(time.Duration(rec.Lease) * time.Second)
	}
	i := slices.IndexFunc(s.services, func(o *service) bool { return sameRID(&o.rec, rec) })
	switch {
	case i >= 0:
		s.services[i] = v
	case len(s.services) >= maxServices:
		return nil, mad.SAStatusNoResources
	default:
		s.services = append(s.services, v)
	}
	return s.serviceAnswer(r, v.rec), mad.StatusOK
}

// saServiceDelete ends a registration.
func (s *SM) saServiceDelete(r *saRequest) ([]mad.Attribute, mad.Status) {
	rec, ok := s.decodeServiceLocked(r)
	if !ok {
		return nil, mad.SAStatusReqInvalid
	}
	s.expireServicesLocked()
	i := slices.IndexFunc(s.services, func(o *service) bool { return sameRID(&o.rec, rec) })
	if i < 0 {
		return nil, mad.SAStatusNoRecords
	}
	old := s.services[i].rec
	s.services = slices.Delete(s.services, i, i+1)
	return s.serviceAnswer(r, old), mad.StatusOK
}

// saServiceGet lists the services whose partition the requester is in.
func (s *SM) saServiceGet(r *saRequest) ([]mad.Attribute, mad.Status) {
	s.expireServicesLocked()
	now := s.clock.Now()
	c := &collector{r: r, layout: serviceRecordLayout}
	for _, v := range s.services {
		if rec := v.lease(now); r.port.hasPKey(rec.PKey) && c.fits(&rec) {
			c.out = append(c.out, s.serviceAnswer(r, rec)...)
		}
	}
	return c.out, mad.StatusOK
}

// serviceAnswer hides the key from who is not trusted.
func (s *SM) serviceAnswer(r *saRequest, rec mad.ServiceRecord) []mad.Attribute {
	if !r.trusted {
		clear(rec.Key[:])
	}
	return []mad.Attribute{&rec}
}

// decodeServiceLocked reads a record of a Set or Delete; its P_Key must be one
// of the requester's and of the port that offers the service.
func (s *SM) decodeServiceLocked(r *saRequest) (*mad.ServiceRecord, bool) {
	rec := new(mad.ServiceRecord)
	if r.m.Attr(rec) != nil {
		return nil, false
	}
	if !r.mask.Has(mad.SRServicePKey) {
		return rec, true
	}
	if !r.port.hasPKey(rec.PKey) {
		return nil, false
	}
	if r.mask.Has(mad.SRServiceGID) && !rec.ServiceGID.IsMulticast() {
		p := s.portByAliasLocked(rec.ServiceGID.GUID())
		return rec, p != nil && p.hasPKey(rec.PKey)
	}
	return rec, true
}

// expireServicesLocked drops the services whose lease is over.
func (s *SM) expireServicesLocked() {
	now := s.clock.Now()
	s.services = slices.DeleteFunc(s.services, func(v *service) bool {
		return !v.expires.IsZero() && !now.Before(v.expires)
	})
}
