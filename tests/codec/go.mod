module example.com/form

go 1.26.0

require github.com/dictwire/dictwire v0.0.0

require (
	github.com/klauspost/compress v1.20.4 // indirect
	golang.org/x/sync v0.25.0 // indirect
	golang.org/x/sys v0.50.0 // indirect
)

replace github.com/dictwire/dictwire => ../../
