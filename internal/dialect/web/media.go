package web

import (
	"fmt"
	"mime"
	"net/http"
	"strings"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/fault"
)

// formats maps media types to the names of formats. "" means that clients send the type for
// anything, so the body has to be sniffed.
var formats = map[string]string{
	"application/json":                  "json",
	"text/json":                         "json",
	"application/x-ndjson":              "json",
	"application/ndjson":                "json",
	"application/jsonl":                 "json",
	"application/x-jsonlines":           "json",
	"application/json-seq":              "json",
	"application/cbor":                  "cbor",
	"application/cbor-seq":              "cbor",
	"application/msgpack":               "msgpack",
	"application/x-msgpack":             "msgpack",
	"application/vnd.msgpack":           "msgpack",
	"application/x-python-pickle":       "pickle",
	"application/x-pickle":              "pickle",
	"application/python-pickle":         "pickle",
	"text/x-python":                     "python",
	"text/plain":                        "",
	"application/octet-stream":          "",
	"application/x-www-form-urlencoded": "",
	"":                                  "",
}

// formatOf returns the codec of a request's Content-Type, or nil if the body has to be
// sniffed.
func (d *web) formatOf(r *http.Request) (codec.Codec, error) {
	text := r.Header.Get("Content-Type")
	mediaType, params, err := mime.ParseMediaType(text)
	if text == "" {
		mediaType, err = "", nil
	}
	name, known := formats[mediaType]
	if !known && strings.HasSuffix(mediaType, "+json") {
		name, known = "json", true
	}
	charset := strings.ToLower(params["charset"])
	switch {
	case err != nil, !known:
		return nil, &fault.Error{
			Code: fault.Unsupported, At: -1,
			Text: fmt.Sprintf("the Content-Type %.60q is not supported", text),
			Hint: "application/json, application/x-ndjson, application/cbor, application/cbor-seq, application/msgpack, application/x-python-pickle and text/x-python are",
		}
	case charset != "" && charset != "utf-8" && charset != "us-ascii":
		return nil, &fault.Error{
			Code: fault.Unsupported, At: -1,
			Text: fmt.Sprintf("the charset %.40q is not served", charset),
			Hint: "send UTF-8",
		}
	case name == "":
		return nil, nil //nolint:nilnil // the body is sniffed
	}
	return d.Codecs[name], nil
}

// accepts reports whether the Accept header lists a media type, wildcards aside.
func accepts(r *http.Request, mediaType string) bool {
	for _, line := range r.Header.Values("Accept") {
		for part := range strings.SplitSeq(line, ",") {
			name, _, _ := strings.Cut(part, ";")
			if strings.EqualFold(strings.TrimSpace(name), mediaType) {
				return true
			}
		}
	}
	return false
}
