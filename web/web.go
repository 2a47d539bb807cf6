// Package web is the page that a server shows to browsers. Its files are served as
// they are; docs/decisions/016 explains why there is no build step.
package web

import "embed"

// Files are the page, index.html, and what it loads.
//
//go:embed *.html *.css *.js *.svg
var Files embed.FS
