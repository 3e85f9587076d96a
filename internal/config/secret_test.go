package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"capstan"
)

func writeSecret(t *testing.T, text string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestRevealFile(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		text, want string
		mode       os.FileMode
	}{
		{"hush", "hush", 0o600},
		{"hush\n", "hush", 0o400},
		{"hush\r\n", "hush", 0o640},
		{"hush\n\n", "hush\n", 0o600},
		{" hush ", " hush ", 0o600},
	} {
		got, err := FileSecret(writeSecret(t, test.text, test.mode)).Reveal()
		if err != nil || got != test.want {
			t.Errorf("%q: got %q, %v", test.text, got, err)
		}
	}
}

func TestRevealRefuses(t *testing.T) {
	t.Parallel()
	open := writeSecret(t, "hush", 0o644)
	_, err := FileSecret(open).Reveal()
	if !errors.Is(err, capstan.ErrRefused) || !strings.Contains(err.Error(), "chmod 600 "+open) || strings.Contains(err.Error(), "hush") {
		t.Errorf("readable by everybody: %v", err)
	}
	if _, err := FileSecret(writeSecret(t, "hush", 0o602)).Reveal(); !errors.Is(err, capstan.ErrRefused) {
		t.Errorf("writable by everybody: %v", err)
	}
	for name, secret := range map[string]Secret{
		"empty":          FileSecret(writeSecret(t, "\n", 0o600)),
		"missing":        FileSecret(filepath.Join(t.TempDir(), "none")),
		"directory":      FileSecret(t.TempDir()),
		"long":           FileSecret(writeSecret(t, strings.Repeat("x", maxSecret+1), 0o600)),
		"unset variable": EnvSecret("CAPSTAN_NO_SUCH_VARIABLE"),
		"nothing":        {},
	} {
		if got, err := secret.Reveal(); err == nil || got != "" {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
	}
}

func TestRevealEnvironmentAndCredential(t *testing.T) {
	t.Setenv("HUSH", "from the environment\n")
	if got, err := EnvSecret("HUSH").Reveal(); err != nil || got != "from the environment" {
		t.Errorf("got %q, %v", got, err)
	}
	t.Setenv("CREDENTIALS_DIRECTORY", "")
	if _, err := CredentialSecret("secret").Reveal(); err == nil || !strings.Contains(err.Error(), "LoadCredential=secret") {
		t.Errorf("outside of systemd: %v", err)
	}
	t.Setenv("CREDENTIALS_DIRECTORY", filepath.Dir(writeSecret(t, "from systemd\n", 0o444)))
	if got, err := CredentialSecret("secret").Reveal(); err != nil || got != "from systemd" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestSecretIsNeverPrinted(t *testing.T) {
	t.Parallel()
	secret := EnvSecret("WHERE_IT_IS")
	holder := struct{ Password Secret }{secret}
	var printed []string
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%T%v"} {
		args := []any{secret}
		if verb == "%T%v" {
			args = append(args, &secret)
		}
		printed = append(printed, fmt.Sprintf(verb, args...), fmt.Sprintf(strings.ReplaceAll(verb, "%T", ""), holder))
	}
	asJSON, err := json.Marshal(holder)
	if err != nil {
		t.Fatal(err)
	}
	asYAML, err := yaml.Marshal(holder)
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "secret", secret, "holder", holder)
	printed = append(printed, string(asJSON), string(asYAML), log.String(), fmt.Sprint(secret), fmt.Sprint(errors.New("x "+secret.String())))
	for _, text := range printed {
		if strings.Contains(text, "WHERE") || !strings.Contains(text, "***") {
			t.Errorf("printed %q", text)
		}
	}
	if want := "variable WHERE_IT_IS"; secret.Where() != want {
		t.Errorf("Where gives %q, want %q", secret.Where(), want)
	}
}
