package main

import (
	"math"
	"slices"
)

// Summary is what the samples of one measurement say.
type Summary struct {
	Median  float64   `json:"median"`
	Min     float64   `json:"min"`
	Max     float64   `json:"max"`
	Samples []float64 `json:"samples"`
}

// summarize returns the summary of one or more samples, kept in their order.
func summarize(samples []float64) Summary {
	return Summary{median(samples), slices.Min(samples), slices.Max(samples), slices.Clone(samples)}
}

// median returns the middle sample, or the mean of the two in the middle; NaN
// without samples.
func median(samples []float64) float64 {
	n := len(samples)
	if n == 0 {
		return math.NaN()
	}
	s := slices.Sorted(slices.Values(samples))
	if n%2 == 1 {
		return s[n/2]
	}
	return (s[n/2-1] + s[n/2]) / 2
}

// over returns how many times b the summary a is: the median of the ratios of
// each round, because what disturbs a round disturbs both. Where rounds are
// missing it is the ratio of the medians. ok is false if it has no meaning.
func over(a, b Summary) (v float64, ok bool) {
	v = a.Median / b.Median
	if len(a.Samples) == len(b.Samples) && len(a.Samples) > 0 {
		ratios := make([]float64, len(a.Samples))
		for i := range ratios {
			ratios[i] = a.Samples[i] / b.Samples[i]
		}
		v = median(ratios)
	}
	return v, !math.IsNaN(v) && !math.IsInf(v, 0)
}
