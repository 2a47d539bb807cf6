//go:build !linux && !darwin

package filter

import "time"

func boundTime() {}

// renewTime does nothing: only the server's clock limits the process.
func renewTime(time.Duration) {}
