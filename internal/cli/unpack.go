package cli

import (
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/klauspost/compress/zstd"
)

// maxWindow bounds zstd's window, and so the memory for reading: the largest window of
// zstd --long=27.
const maxWindow = 128 << 20

// unpacked returns a reader of r that decompresses gzip and zstd, recognized by the first
// bytes. Concatenated members are read as one. It waits for no more bytes than it needs.
func unpacked(r io.Reader) io.Reader {
	b := bufio.NewReaderSize(r, 64<<10)
	var in io.Reader
	return readerFunc(func(p []byte) (int, error) {
		if in == nil {
			var err error
			if in, err = decompressor(b); err != nil {
				in = readerFunc(func([]byte) (int, error) { return 0, err })
			}
		}
		return in.Read(p)
	})
}

func decompressor(b *bufio.Reader) (io.Reader, error) {
	begins := func(magic string) bool {
		for i := range len(magic) {
			if got, _ := b.Peek(i + 1); len(got) <= i || got[i] != magic[i] {
				return false
			}
		}
		return true
	}
	switch {
	case begins("\x1f\x8b"):
		z, err := gzip.NewReader(b)
		return &packed{kind: "gzip", r: z}, unpackError("gzip", err)
	case begins("\x28\xb5\x2f\xfd"):
		z, err := zstd.NewReader(b, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		return &packed{kind: "zstd", r: z}, unpackError("zstd", err)
	default:
		return b, nil
	}
}

// A packed decompresses its input.
type packed struct {
	kind   string
	r      io.Reader
	broken error // of the next Read
}

func (p *packed) Read(b []byte) (int, error) {
	if p.broken != nil {
		return 0, p.broken
	}
	n, err := p.r.Read(b)
	if err = unpackError(p.kind, err); err != nil && n > 0 { // the bytes before the error count
		p.broken, err = err, nil
	}
	return n, err
}

// unpackError says what is wrong with compressed data.
func unpackError(kind string, err error) error {
	switch {
	case err == nil, err == io.EOF, errors.As(err, new(*fs.PathError)):
		return err
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("the %s data is cut off: the rest is missing", kind)
	case errors.Is(err, zstd.ErrWindowSizeExceeded):
		return hintError{fmt.Errorf("the zstd data needs a window of more than %d MiB", maxWindow>>20), "zstd -d --long=31 decompresses it"}
	default:
		return fmt.Errorf("the %s data is damaged: %w", kind, err)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }
