package ethtoolsrv

import (
	"syscall"

	"ipoib/datapath"
	"ipoib/nl"
	"ipoib/nl/ethnl"
	"ipoib/nl/genl"
)

// featureBits makes a bitset of features; without mask it is a list.
func featureBits(value datapath.FeatureSet, mask ...datapath.FeatureSet) ethnl.Bitset {
	b := ethnl.Bitset{
		Size: datapath.NumFeatures, Value: ethnl.Bitmap64(uint64(value)), Names: datapath.FeatureNames(),
	}
	if len(mask) > 0 {
		b.Mask = ethnl.Bitmap64(uint64(mask[0]))
	}
	return b
}

// features answers FEATURES_GET.
func features(q *query) (fillFunc, error) {
	return featuresFill(&q.info, q.hdr.Compact()), nil
}

// featuresFill writes the features. A wish for what the mode does not offer
// is not shown.
func featuresFill(info *datapath.Info, compact bool) fillFunc {
	f := info.Features
	const all = ^datapath.FeatureSet(0)
	return func(e *nl.Encoder) {
		featureBits(f.HW, all).Append(e, ethnl.FeaturesHW, compact)
		featureBits(f.Wanted&f.HW).Append(e, ethnl.FeaturesWanted, compact)
		featureBits(f.Active).Append(e, ethnl.FeaturesActive, compact)
		featureBits(datapath.NeverChange).Append(e, ethnl.FeaturesNoChange, compact)
	}
}

// checkWanted refuses a request that asks for nothing.
func checkWanted(r *genl.Request) error {
	if !r.Attrs.Has(ethnl.FeaturesWanted) {
		return syscall.EINVAL
	}
	return nil
}

// setFeatures handles FEATURES_SET. The reply goes out before the
// notification, as from the kernel.
func setFeatures(q *query) error {
	wanted, _ := q.Attrs.Get(ethnl.FeaturesWanted)
	value, mask, err := ethnl.ParseBitset(wanted, datapath.NumFeatures, datapath.FeatureNames())
	if err != nil {
		return err
	}
	var result func(datapath.FeatureResult)
	if q.hdr.Flags&ethnl.FlagOmitReply == 0 {
		result = q.replyFeatures
	}
	return q.dev.SetFeatures(datapath.FeatureSet(value.Uint64()), datapath.FeatureSet(mask.Uint64()), result)
}

// replyFeatures sends FEATURES_SET_REPLY.
func (q *query) replyFeatures(res datapath.FeatureResult) {
	// A reply that does not fit is the client's loss, not the setting's.
	_ = q.Reply(ethnl.MsgFeaturesSetReply, func(e *nl.Encoder) error {
		ethnl.AppendHeader(e, ethnl.FeaturesHeader, q.info.Ifindex, q.info.Name)
		compact := q.hdr.Compact()
		featureBits(res.WantedValue, res.WantedMask).Append(e, ethnl.FeaturesWanted, compact)
		featureBits(res.ActiveValue, res.ActiveMask).Append(e, ethnl.FeaturesActive, compact)
		return e.Err()
	})
}
