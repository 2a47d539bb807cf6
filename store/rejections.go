package store

import "encoding/binary"

// AppendRejections appends rejections to dst, with equal ones in a row encoded once: how
// many there are, their code, reason and text. Their numbers are not encoded, and must be
// consecutive. It is the encoding in a block's layout; drivers may use it elsewhere.
func AppendRejections(dst []byte, all []Rejection) []byte {
	for len(all) > 0 {
		r, n := all[0], 1
		for n < len(all) && r.SaysAs(all[n]) {
			n++
		}
		dst = binary.AppendUvarint(dst, uint64(n))
		dst = appendString(appendString(appendString(dst, r.Code), r.Reason), r.Text)
		all = all[n:]
	}
	return dst
}

// DecodeRejections decodes what AppendRejections has encoded. The first rejection gets the
// number first. The error says that src is malformed, or has more than MaxRejections.
func DecodeRejections(first uint64, src []byte) ([]Rejection, error) {
	r := reader{rest: src}
	var all []Rejection
	for len(r.rest) > 0 {
		all = r.equalRejections(all, first, MaxRejections)
	}
	if r.bad {
		return nil, errShort
	}
	return all, nil
}

// rejections decodes the rejections of count records into dst.
func (r *reader) rejections(dst []Rejection, first uint64, count int) []Rejection {
	if count > MaxRejections {
		r.bad = true
		return nil
	}
	for dst = dst[:0]; len(dst) < count && !r.bad; {
		dst = r.equalRejections(dst, first, count)
	}
	return dst
}

// equalRejections appends equal rejections to dst, which may have at most most after that.
func (r *reader) equalRejections(dst []Rejection, first uint64, most int) []Rejection {
	n := r.number()
	says := Rejection{Code: string(r.bytes()), Reason: string(r.bytes()), Text: string(r.bytes())}
	if r.bad || n == 0 || n > uint64(most-len(dst)) {
		r.bad, r.rest = true, nil
		return nil
	}
	for range n {
		says.Number = first + uint64(len(dst))
		dst = append(dst, says)
	}
	return dst
}
