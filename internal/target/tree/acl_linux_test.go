package tree

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestParseACL(t *testing.T) {
	t.Parallel()
	const full = "user::rwx,user:7:r--,user:1000:r-x,group::r-x,group:0:---,mask::rwx,other::--x"
	for text, want := range map[string]string{
		full:                              full,
		"user::rw-,group::r--,other::---": "user::rw-,group::r--,other::---",
		"o::---\nm::rwx\n g:0:rwx \n\ng::r-- # comment\nu::rw-":           "user::rw-,group::r--,group:0:rwx,mask::rwx,other::---",
		"user::rwx,user:anna:r-x:1001,group::r-x,mask::rwx,other:::":      "",
		"user::rwx,user:anna:r-x:1001,group::r-x,mask::rwx,other::r-x":    "user::rwx,user:1001:r-x,group::r-x,mask::rwx,other::r-x",
		"user::rwx,user:4294967294:r-x,group::r-x,mask::rwx,other::r-x":   "user::rwx,user:4294967294:r-x,group::r-x,mask::rwx,other::r-x",
		"user::rwx,user:4294967295:r-x,group::r-x,mask::rwx,other::r-x":   "",
		"user::rwx,user:anna:r-x,group::r-x,mask::rwx,other::r-x":         "",
		"user::rwx,user:1:r-x,group::r-x,other::r-x":                      "",
		"user::rwx,user:1:r-x,user:1:r-x,group::r-x,mask::rwx,other::r-x": "",
		"user::rwx,user::r-x,group::r-x,other::r-x":                       "",
		"user::rwx,group::r-x":             "",
		"group::r-x,other::r-x":            "",
		"":                                 "",
		"user::rwx,group::r-x,other:5:r-x": "",
		"user::rwx,group::r-x,mask:5:r-x,other::r-x":                            "",
		"user::rxw,group::r-x,other::r-x":                                       "",
		"user::rwxx,group::r-x,other::r-x":                                      "",
		"user::7,group::r-x,other::r-x":                                         "",
		"users::rwx,group::r-x,other::r-x":                                      "",
		"user,group::r-x,other::r-x":                                            "",
		"user:1:2:3:4,group::r-x,other::r-x":                                    "",
		"user::rwx,user:-1:rwx,group::r-x,mask::rwx,other::r-x":                 "",
		"user::rwx,user:99999999999999999999:rwx,group::r-x,mask::r,other::r-x": "",
	} {
		list, err := parseACL(text)
		if want == "" {
			if err == nil {
				t.Errorf("%q was accepted as %q", text, decodeACL(list.encode()))
			}
			continue
		}
		if err != nil || decodeACL(list.encode()) != want {
			t.Errorf("%q: %q, %v, want %q", text, decodeACL(list.encode()), err, want)
		}
	}
	if list, err := parseACL(full); err != nil || list.owningGroup() != 5 {
		t.Errorf("owning group %o, %v", list.owningGroup(), err)
	}
}

// TestACLAgainstSetfacl compares our value of the attribute with the one that
// setfacl makes of the same text, and getfacl's words with ours.
func TestACLAgainstSetfacl(t *testing.T) {
	t.Parallel()
	file := t.TempDir() + "/file"
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		"user::rwx,user:0:rw-,user:1000:---,group::r-x,group:7:-w-,group:4000000000:rwx,mask::r-x,other::r--",
		"user::---,group::---,group:1:--x,mask::---,other::---",
		"user::rw-,user:12:r--,group::rwx,mask::rw-,other::-wx",
	} {
		run(t, "setfacl", "--set", text, file)
		want := make([]byte, 1024)
		n, err := unix.Getxattr(file, xattrACL, want)
		if err != nil {
			t.Fatal(err)
		}
		list, err := parseACL(text)
		if err != nil || !bytes.Equal(list.encode(), want[:n]) {
			t.Errorf("%q: %x, setfacl makes %x, %v", text, list.encode(), want[:n], err)
		}
		said := strings.TrimSpace(run(t, "getfacl", "-cnpE", file))
		if list, err := parseACL(said); err != nil || decodeACL(list.encode()) != text {
			t.Errorf("getfacl says %q: %v, %v", said, list, err)
		}
	}
}

func FuzzParseACL(f *testing.F) {
	f.Add("user::rwx,user:1000:r-x,group::r-x,mask::r-x,other::---")
	f.Add("u::rw-\ng:0:---:5 #x\no::r--")
	f.Add("user:::,,:::#")
	f.Fuzz(func(t *testing.T, text string) {
		list, err := parseACL(text)
		if err != nil {
			return
		}
		canonical := decodeACL(list.encode())
		again, err := parseACL(canonical)
		if err != nil || !bytes.Equal(again.encode(), list.encode()) {
			t.Errorf("%q gives %q, which gives %v, %v", text, canonical, again, err)
		}
	})
}
