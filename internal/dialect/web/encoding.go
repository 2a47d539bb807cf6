package web

import (
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/dictwire/dictwire/fault"
	"github.com/dictwire/dictwire/internal/unpack"
)

// unpacked returns the body of a request with its Content-Encoding removed, and how much
// memory the decoder needs.
func unpacked(r *http.Request) (io.Reader, int64, error) {
	switch encoding := strings.ToLower(strings.TrimSpace(strings.Join(r.Header.Values("Content-Encoding"), ","))); encoding {
	case "", "identity":
		return r.Body, 0, nil
	case "gzip", "x-gzip", "deflate", "zstd":
		return unpack.New("the body", strings.TrimPrefix(encoding, "x-"), r.Body)
	default:
		return nil, 0, &fault.Error{
			Code: fault.Unsupported, At: -1,
			Text: fmt.Sprintf("the Content-Encoding %.60q is not served", encoding),
			Hint: "gzip, deflate and zstd are, one of them",
		}
	}
}
