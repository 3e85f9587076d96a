package cli

import (
	"context"
	"slices"

	"github.com/spf13/cobra"

	"capstan/internal/config"
	"capstan/internal/daemon"
	"capstan/internal/envelope"
)

// keyFlags say with what encrypted sets are opened.
type keyFlags struct {
	identities []string
	passphrase string
}

func (k *keyFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&k.identities, "identity", nil,
		"file of the secret keys that open encrypted sets (repeatable; default $CAPSTAN_IDENTITY)")
	k.addPassphrase(cmd, "file that holds the passphrase of an encrypted set, or of a key (default $CAPSTAN_PASSPHRASE_FILE)")
}

func (k *keyFlags) addPassphrase(cmd *cobra.Command, what string) {
	cmd.Flags().StringVar(&k.passphrase, "passphrase-file", "", what)
}

// load reads the keys that the flags, or in their place the environment, name; none
// are named where nothing is encrypted.
func (k *keyFlags) load() (*envelope.Identities, error) {
	return envelope.LoadIdentities(config.IdentityFiles(k.identities), passphraseIn(config.Passphrase(k.passphrase)))
}

// passphraseIn is nil for no secret.
func passphraseIn(secret config.Secret) envelope.Passphrase {
	if secret.IsZero() {
		return nil
	}
	return secret.Reveal
}

// withKeys is with, for commands that read encrypted sets.
func (a *app) withKeys(ctx context.Context, keys *keyFlags, do func(context.Context, *daemon.Daemon) error) error {
	identities, err := keys.load()
	if err != nil {
		return err
	}
	return a.with(ctx, func(ctx context.Context, d *daemon.Daemon) error {
		d.Engine.Identities = identities
		return do(ctx, d)
	})
}

// passphraseWord is the value of --encrypt-to that stands for a passphrase.
const passphraseWord = "passphrase"

// encryptFlags say to whom a backup is encrypted.
type encryptFlags struct {
	to         []string
	passphrase string        // --passphrase-file
	flag       string        // another name of --passphrase-file, where that one opens sets
	secret     config.Secret // of the configured job, where the flag is not given
}

func (e *encryptFlags) passphraseFlag() string {
	if e.flag == "" {
		return "--passphrase-file"
	}
	return "--" + e.flag
}

func (e *encryptFlags) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringArrayVar(&e.to, "encrypt-to", nil,
		"encrypt to this public key (age1...), to those in this file, or with a "+passphraseWord+" (repeatable)")
	f.StringVar(&e.passphrase, e.passphraseFlag()[2:], "", "file that holds the passphrase of --encrypt-to "+passphraseWord)
}

// recipients are nil for a backup that is not encrypted.
func (e *encryptFlags) recipients() (*envelope.Recipients, error) {
	switch {
	case slices.Contains(e.to, passphraseWord) && len(e.to) > 1:
		return nil, usage("--encrypt-to takes keys or %s, not both: the age format has no such files", passphraseWord)
	case slices.Contains(e.to, passphraseWord):
		secret := e.secret
		if e.passphrase != "" {
			secret = config.FileSecret(e.passphrase)
		} else if secret.IsZero() && e.flag == "" {
			secret = config.Passphrase("")
		}
		if secret.IsZero() {
			return nil, usage("--encrypt-to %s needs %s FILE", passphraseWord, e.passphraseFlag())
		}
		return envelope.ParseRecipients(nil, secret.Reveal)
	case e.passphrase != "":
		return nil, usage("%s encrypts nothing by itself: give --encrypt-to %s too", e.passphraseFlag(), passphraseWord)
	case len(e.to) == 0:
		return nil, nil //nolint:nilnil // nobody: the backup is not encrypted
	}
	return envelope.ParseRecipients(e.to, nil)
}
