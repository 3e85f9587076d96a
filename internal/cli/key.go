package cli

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"capstan"
	"capstan/internal/config"
	"capstan/internal/disk"
	"capstan/internal/envelope"
)

func (a *app) keyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "key", Short: "Make keys for encrypted backups, print them on paper, exchange them",
		Long: `Backups are encrypted to public keys of age (age-encryption.org) and opened with the
secret ones; "capstan backup --encrypt-to" needs the public key alone. Whoever loses
the secret key loses the backups: print a recovery sheet, and keep it elsewhere.`,
		Example: "  capstan key new ~/backup.key\n  capstan key sheet ~/backup.key --form html > sheet.html\n  capstan key rewrap latest --identity old.key --encrypt-to age1...",
		Args:    usageArgs(cobra.NoArgs),
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.keyNewCommand(), a.keySheetCommand(), a.keyReadCommand(), a.keyRewrapCommand())
	return cmd
}

// keyLine is a key in --json output.
type keyLine struct {
	PublicKey string `json:"public_key"`
	File      string `json:"file,omitempty"`
	Sheet     string `json:"sheet,omitempty"`
}

// aside runs a command that needs no home.
func (a *app) aside(ctx context.Context, do func() error) error {
	if err := a.open(ctx); err != nil {
		return err
	}
	return errors.Join(do(), a.out.Flush())
}

// key prints the public half of a key.
func (a *app) key(key envelope.Key, file string) error {
	if a.flags.json {
		return a.object(keyLine{PublicKey: key.Recipient(), File: file})
	}
	return a.line(key.Recipient())
}

func (a *app) keyNewCommand() *cobra.Command {
	var quantum, protect bool
	var keys keyFlags
	cmd := &cobra.Command{
		Use: "new FILE", Short: "Make a key in a new file, and print its public half",
		Long: `Make a secret key in a new file, for its owner alone, as age-keygen does, and print
its public key, for --encrypt-to. With --protect the file is under a passphrase.`,
		Example: "  capstan key new ~/backup.key\n  capstan backup /srv --to /mnt/disk --encrypt-to $(capstan key new ~/backup.key)",
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.aside(cmd.Context(), func() error {
				make := envelope.NewKey
				if quantum {
					make = envelope.NewPostQuantumKey
				}
				key, err := make()
				if err != nil {
					return err
				}
				var passphrase envelope.Passphrase
				if protect || keys.passphrase != "" {
					secret := config.Passphrase(keys.passphrase)
					if secret.IsZero() {
						return usage("--protect needs --passphrase-file FILE")
					}
					passphrase = secret.Reveal
				}
				if err := writeKey(args[0], key, passphrase); err != nil {
					return err
				}
				a.say("the secret key is in %s; without it nobody can read what is encrypted to it: print it, capstan key sheet %s", args[0], args[0])
				return a.key(key, args[0])
			})
		},
	}
	cmd.Flags().BoolVar(&quantum, "post-quantum", false, "a key that withstands quantum computers; opened by age 1.3 and later only")
	cmd.Flags().BoolVar(&protect, "protect", false, "put the key under a passphrase")
	keys.addPassphrase(cmd, "file that holds the passphrase of the key (with --protect: default $CAPSTAN_PASSPHRASE_FILE)")
	return cmd
}

// writeKey makes a file of a key, which must be a new one.
func writeKey(path string, key envelope.Key, passphrase envelope.Passphrase) error {
	var text bytes.Buffer
	var err error
	if passphrase == nil {
		err = key.WriteFile(&text, time.Now())
	} else {
		var secret string
		if secret, err = passphrase(); err == nil {
			err = key.Protect(&text, secret, time.Now())
		}
	}
	if err != nil {
		return err
	}
	if path, err = filepath.Abs(path); err != nil {
		return err
	}
	err = disk.FS{}.WriteNew(path, text.Bytes())
	if errors.Is(err, fs.ErrExist) {
		return &capstan.Error{
			Class: capstan.ErrRefused, Op: "make key", Object: path, Err: errors.New("there is a file of that name"),
			Safe: "it was not touched", Next: "give another name",
		}
	}
	return err
}

func (a *app) keySheetCommand() *cobra.Command {
	var form, purpose string
	var keys keyFlags
	cmd := &cobra.Command{
		Use: "sheet FILE", Short: "Print the recovery sheet of a key: to be typed or scanned from paper",
		Long: `Print a page with the secret key of a file, in lines that can be typed and as a QR
code, and with what to do with it. Whoever has the page has the key.
"capstan key read" reads back what was typed.`,
		Example: "  capstan key sheet ~/backup.key | lp\n  capstan key sheet ~/backup.key --form html --for 'backups of files.example' > sheet.html",
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.aside(cmd.Context(), func() error {
				all, err := envelope.LoadKeys(args[0], passphraseIn(config.Passphrase(keys.passphrase)))
				if err != nil {
					return err
				}
				for _, key := range all {
					var text bytes.Buffer
					note := envelope.SheetNote{For: purpose, Made: time.Now()}
					if err := envelope.RecoverySheet(&text, key, note, envelope.SheetForm(form)); err != nil {
						return err
					}
					if a.flags.json {
						err = a.object(keyLine{PublicKey: key.Recipient(), Sheet: text.String()})
					} else {
						_, err = a.out.Write(text.Bytes())
					}
					if err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&form, "form", string(envelope.SheetText), "text, or html")
	cmd.Flags().StringVar(&purpose, "for", "", "what the key opens, to stand on the page")
	keys.addPassphrase(cmd, "file that holds the passphrase of the key (default $CAPSTAN_PASSPHRASE_FILE)")
	return cmd
}

func (a *app) keyReadCommand() *cobra.Command {
	var to string
	cmd := &cobra.Command{
		Use: "read FILE", Short: "Read a recovery sheet that was typed, and print the public key",
		Long: `Read what was typed or scanned from a recovery sheet, name the line in which a letter
is wrong, and print the public key that belongs to it. With --to, write a key file.
Restoring takes the typed file as well: --identity FILE.`,
		Example: "  capstan key read typed.txt\n  capstan key read typed.txt --to ~/backup.key",
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.aside(cmd.Context(), func() error {
				all, err := envelope.LoadKeys(args[0], nil)
				if err != nil {
					return err
				}
				if len(all) != 1 {
					return usage("%s holds %d keys, and one is wanted", args[0], len(all))
				}
				if to != "" {
					if err := writeKey(to, all[0], nil); err != nil {
						return err
					}
				}
				return a.key(all[0], to)
			})
		},
	}
	cmd.Flags().StringVar(&to, "to", "", "write the key to this new file")
	return cmd
}
