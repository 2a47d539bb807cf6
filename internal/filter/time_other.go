//go:build !linux && !darwin

package filter

import "time"

func boundTime() {}

// renewTime does nothing: the server's clock alone bounds the process.
func renewTime(time.Duration) {}
