package filter

func bound() error { return nil }
