package disk

import (
	"math"
	"os"
	"strings"

	"golang.org/x/sys/windows"

	"capstan"
)

func space(path string) (Space, error) {
	name, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return Space{}, err
	}
	var free, total uint64
	if err := windows.GetDiskFreeSpaceEx(name, &free, &total, nil); err != nil {
		return Space{}, err
	}
	return Space{
		Total: capstan.Bytes(min(total, math.MaxInt64)),
		Free:  capstan.Bytes(min(free, math.MaxInt64)),
	}, nil
}

func sameFilesystem(a, b string) (bool, error) {
	one, err := mountPoint(a)
	if err != nil {
		return false, err
	}
	two, err := mountPoint(b)
	if err != nil {
		return false, err
	}
	return strings.EqualFold(windows.UTF16ToString(one), windows.UTF16ToString(two)), nil
}

func filesystem(path string) (string, error) {
	point, err := mountPoint(path)
	if err != nil {
		return "", err
	}
	kind := make([]uint16, windows.MAX_PATH+1)
	err = windows.GetVolumeInformation(&point[0], nil, 0, nil, nil, nil, &kind[0], uint32(len(kind)))
	if err != nil {
		return "", &os.PathError{Op: "GetVolumeInformation", Path: path, Err: err}
	}
	return windows.UTF16ToString(kind), nil
}

// mountPoint is the drive or mounted folder that path, which must exist, lies on.
func mountPoint(path string) ([]uint16, error) {
	if _, err := os.Stat(path); err != nil {
		return nil, err
	}
	name, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return nil, err
	}
	point := make([]uint16, len(path)+windows.MAX_PATH+1)
	if err := windows.GetVolumePathName(name, &point[0], uint32(len(point))); err != nil {
		return nil, &os.PathError{Op: "GetVolumePathName", Path: path, Err: err}
	}
	return point, nil
}
