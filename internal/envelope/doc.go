// Package envelope encrypts the files of a set and decrypts them again, in the
// age format (age-encryption.org/v1), so that the stock age program opens what
// this package writes and the other way round. docs/format-encryption.md says
// which files of a set are encrypted.
//
// # Use
//
// Writing: ParseRecipients once a run, then Recipients.Writer around each file;
// its Close, before the file is committed, writes what makes it whole. The
// sums of a set are over the encrypted bytes.
//
// Reading: LoadIdentities once a run, Identities.For once a set, then OpenAt for
// what is read at any place (archives) or Reader for what is read from its
// beginning (a manifest). A nil *Identities has no keys and says so well.
//
// Keys: NewKey makes one, Key.WriteFile and Key.Protect store it as the stock
// programs do, RecoverySheet prints it, ReadSheet reads what was typed back.
//
// # Errors
//
// No key fits: capstan.ErrWrongKey, with words on which key would. The bytes are
// not what was written, or are cut off: capstan.ErrDamaged. Every other error is
// one of reading or writing and comes through unchanged in errors.Is. age hides
// to whom a file is encrypted, so a damaged header can look like a wrong key;
// For tells them apart where the recipients are known.
//
// No error, and no String method, holds anything secret.
//
// # Blocking
//
// Calls block as the readers and writers below them do, and start no goroutines.
// A passphrase costs a fraction of a second and 64 MiB for each file that it
// opens or closes; see Passphrase.
package envelope

import (
	"fmt"

	"capstan"
)

// Suffix is the end of an encrypted file's name, after that of what is in it.
const Suffix = capstan.EncryptedSuffix

// damaged says that bytes are not what was written.
func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %w", capstan.ErrDamaged, fmt.Errorf(format, args...))
}
