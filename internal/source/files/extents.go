package files

import "capstan"

// joinExtent adds the range from start to end, and makes it part of the one
// before when the hole between them is not larger than joinBelow.
func joinExtent(data []capstan.Extent, start, end, joinBelow int64) []capstan.Extent {
	if n := len(data); n > 0 {
		last := &data[n-1]
		if start-(last.Offset+last.Length) <= joinBelow {
			last.Length = end - last.Offset
			return data
		}
	}
	return append(data, capstan.Extent{Offset: start, Length: end - start})
}

// thinExtents joins the ranges across the smallest holes until at most half of
// them are left, and gives the size up to which holes were dropped.
func thinExtents(data []capstan.Extent) ([]capstan.Extent, int64) {
	aim := len(data) / 2
	for joinBelow := int64(4 << 10); ; joinBelow *= 2 {
		kept := data[:0]
		for _, x := range data {
			kept = joinExtent(kept, x.Offset, x.Offset+x.Length, joinBelow)
		}
		if data = kept; len(data) <= max(aim, 1) {
			return data, joinBelow
		}
	}
}
