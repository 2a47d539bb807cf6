package pickle

import (
	"strings"
)

// posixPath returns what str() has for a PurePosixPath of the given parts.
func posixPath(parts []string) string {
	root := ""
	for i, p := range parts {
		if strings.HasPrefix(p, "/") { // the last one that is absolute counts
			root = "/"
			if strings.HasPrefix(p, "//") && !strings.HasPrefix(p, "///") {
				root = "//"
			}
			clear(parts[:i])
		}
	}
	return joined(root, parts, "/")
}

// joined returns the path of parts, leaving out empty ones and dots.
func joined(root string, parts []string, separator string) string {
	var kept []string
	for _, p := range parts {
		for name := range strings.SplitSeq(p, separator) {
			if name != "" && name != "." {
				kept = append(kept, name)
			}
		}
	}
	if path := root + strings.Join(kept, separator); path != "" {
		return path
	}
	return "."
}

// windowsPath returns what str() has for a PureWindowsPath of the given parts.
func windowsPath(parts []string) string {
	drive, root, first := "", "", 0
	for i, p := range parts {
		p = strings.ReplaceAll(p, "/", `\`)
		d, rest := splitDrive(p)
		switch {
		case strings.HasPrefix(rest, `\`):
			if d != "" {
				drive = d
			}
			root, first = `\`, i
		case d != "" && !strings.EqualFold(d, drive):
			drive, root, first = d, "", i
		case d != "":
			drive = d
		}
		parts[i] = rest
		if strings.HasPrefix(drive, `\\`) {
			root = `\`
		}
	}
	return joined(drive+root, parts[first:], `\`)
}

// splitDrive splits C: or \\server\share off.
func splitDrive(p string) (drive, rest string) {
	if len(p) >= 2 && p[1] == ':' {
		return p[:2], p[2:]
	}
	if strings.HasPrefix(p, `\\`) && !strings.HasPrefix(p, `\\\`) {
		server, rest, ok := strings.Cut(p[2:], `\`)
		if ok && server != "" {
			share, _, _ := strings.Cut(rest, `\`)
			n := 2 + len(server) + 1 + len(share)
			return p[:n], p[n:]
		}
	}
	return "", p
}
