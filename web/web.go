// Package web is the page that a server shows to browsers: files that are served as
// they are. docs/decisions/016 says why nothing builds them.
package web

import "embed"

// Files are the page, index.html, and what it loads.
//
//go:embed *.html *.css *.js *.svg
var Files embed.FS
