package config

import (
	"os"
	"path/filepath"
)

// Where keys and passphrases of encrypted sets are found if no flag says it.
const (
	// PassphraseVariable holds a passphrase; it is handed on to no hook.
	PassphraseVariable     = "CAPSTAN_PASSPHRASE"
	passphraseFileVariable = "CAPSTAN_PASSPHRASE_FILE"
	identityVariable       = "CAPSTAN_IDENTITY"

	// Names of systemd's credentials (systemd.exec(5), LoadCredential=).
	passphraseCredential = "capstan-passphrase"
	identityCredential   = "capstan-identity"
)

// Passphrase says where the passphrase is: in the flag's file, else in that of
// $CAPSTAN_PASSPHRASE_FILE, else in $CAPSTAN_PASSPHRASE, else in the credential
// capstan-passphrase of the service. The zero Secret: nowhere.
func Passphrase(flag string) Secret {
	if path := first(flag, os.Getenv(passphraseFileVariable)); path != "" {
		return FileSecret(path)
	}
	if os.Getenv(PassphraseVariable) != "" {
		return EnvSecret(PassphraseVariable)
	}
	if _, there := credentialPath(passphraseCredential); there {
		return CredentialSecret(passphraseCredential)
	}
	return Secret{}
}

// IdentityFiles are the files of secret keys: those of the flags, else that of
// $CAPSTAN_IDENTITY, else the credential capstan-identity of the service, else none.
func IdentityFiles(flags []string) []string {
	if len(flags) > 0 {
		return flags
	}
	if path := os.Getenv(identityVariable); path != "" {
		return []string{path}
	}
	if path, there := credentialPath(identityCredential); there {
		return []string{path}
	}
	return nil
}

// credentialPath is where systemd puts a credential, if it was given to this service.
func credentialPath(name string) (path string, there bool) {
	dir := os.Getenv("CREDENTIALS_DIRECTORY")
	if dir == "" {
		return "", false
	}
	path = filepath.Join(dir, name)
	_, err := os.Stat(path)
	return path, err == nil
}
