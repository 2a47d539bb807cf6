// Package scratch says when the memory that codecs keep from record to record is
// given back.
package scratch

// A Patience watches the memory of one scanner: what many records in a row have not
// needed is not kept. The zero Patience is ready to use.
type Patience struct{ records, largest int }

// patience is how many records in a row that are.
const patience = 256

// Ends counts a record of a size, and reports whether it is time to call Unneeded.
func (p *Patience) Ends(size int) bool {
	p.largest = max(p.largest, size)
	p.records++
	return p.records >= patience
}

// Unneeded reports whether held bytes are more than recent records needed. keep bytes are
// always kept. It starts counting again.
func (p *Patience) Unneeded(held, keep int) bool {
	largest := p.largest
	*p = Patience{}
	return held > keep && held > 8*largest
}
