package manifest

import "testing"

// FuzzSigningKey: what is taken for a home's key signs what its public half verifies,
// and comes back from its own file.
func FuzzSigningKey(f *testing.F) {
	text, err := testKey(f).encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add(text[:len(text)-30])
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIA==\n-----END PRIVATE KEY-----\n"))
	f.Add([]byte("-----BEGIN RSA PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		key, err := parseKey(text)
		if err != nil {
			return
		}
		signed, err := key.Sign(testStatement())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := VerifySignature(signed, []byte(sumsText), key.Public()); err != nil {
			t.Fatal(err)
		}
		own, err := key.encode()
		if err != nil {
			t.Fatal(err)
		}
		if again, err := parseKey(own); err != nil || again.Public() != key.Public() || again.ID() != key.ID() {
			t.Fatalf("a key that was read is not read again: %v", err)
		}
	})
}

// FuzzPublicKey: a public key has one text.
func FuzzPublicKey(f *testing.F) {
	f.Add(testKey(f).Public().String())
	f.Add("MCowBQYDK2VwAyEA")
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		if key, err := ParsePublicKey(text); err == nil && key.String() != text {
			t.Fatalf("%q is %q", text, key)
		}
	})
}
