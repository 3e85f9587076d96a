//go:build unix && !linux

package disk

func renameNew(from, to string) error { return renameLooking(from, to) }
