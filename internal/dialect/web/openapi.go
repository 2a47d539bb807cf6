package web

import (
	_ "embed"
	"net/http"
	"strconv"
)

// document describes the routes as OpenAPI 3.1.
//
//go:embed openapi.json
var document []byte

// openapi serves the document.
func (d *web) openapi(w http.ResponseWriter, r *http.Request) error {
	w.Header().Set("Content-Type", mediaJSON)
	w.Header().Set("Content-Length", strconv.Itoa(len(document)))
	if r.Method != http.MethodHead {
		_, _ = w.Write(document) // net/http notices if the peer is gone
	}
	return nil
}
