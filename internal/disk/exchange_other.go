//go:build !linux

package disk

func exchange(_, _ string) error { return ErrNoExchange }
