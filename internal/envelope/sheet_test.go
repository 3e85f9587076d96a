package envelope

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// sheetKey is fixed, so that the outcome of typing errors is too.
func sheetKey(t testing.TB) Key {
	t.Helper()
	key, err := ParseKey("AGE-SECRET-KEY-1WXANPLKA6CZLGQX5M5A2VJLDSYXQV2C2XZ29QU6NT79V7XWLK8MSMT9MMF")
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func sheet(t testing.TB, key Key, form SheetForm) string {
	t.Helper()
	var text bytes.Buffer
	if err := RecoverySheet(&text, key, SheetNote{For: "backups of\nfiles <example>", Made: testTime}, form); err != nil {
		t.Fatal(err)
	}
	return text.String()
}

func TestSheetReadsBack(t *testing.T) {
	t.Parallel()
	pq, err := NewPostQuantumKey()
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []Key{mustKey(t), pq} {
		lines := sheetLines(key.Secret())
		typed := strings.Join(lines, "\n")
		for name, text := range map[string]string{
			"the text sheet":        sheet(t, key, SheetText),
			"the HTML sheet":        sheet(t, key, SheetHTML),
			"the key's lines alone": typed,
			"small letters":         strings.ToLower(typed),
			"no spaces":             strings.ReplaceAll(typed, " ", ""),
			"dashes, Windows":       strings.ReplaceAll(strings.ReplaceAll(typed, " ", "-"), "\n", "\r\n"),
			"another order":         lines[0] + "\n" + lines[3] + "\n" + lines[1] + "\n\n" + lines[2] + "\n" + lines[1],
			"mistaken letters":      strings.NewReplacer("0", "o", "L", "i", "8", "B").Replace(strings.Join(lines[1:], "\n")),
		} {
			if name == "mistaken letters" {
				text = lines[0] + "\n" + text
			}
			got, err := ReadSheet(strings.NewReader(text))
			if err != nil || got.Secret() != key.Secret() {
				t.Errorf("%s: %v\n%s", name, err, text)
			}
		}
	}
}

func TestSheetSays(t *testing.T) {
	t.Parallel()
	key := mustKey(t)
	for form, wants := range map[SheetForm][]string{
		SheetText: {"CAPSTAN RECOVERY KEY", "Made 20 November 2026 for backups of files <example>.", key.Recipient(), "age -d -i key.txt", "capstan restore"},
		SheetHTML: {"CAPSTAN RECOVERY KEY", "backups of files &lt;example&gt;", key.Recipient(), "age -d -i key.txt", "<svg"},
	} {
		text := sheet(t, key, form)
		for _, want := range wants {
			if !strings.Contains(text, want) {
				t.Errorf("the %s sheet does not say %q", form, want)
			}
		}
		for line := range strings.Lines(text) {
			if form == SheetText && len([]rune(line)) > 81 {
				t.Errorf("%q is too long for a page", line)
			}
		}
	}
	if err := RecoverySheet(&bytes.Buffer{}, key, SheetNote{}, "pdf"); err == nil {
		t.Error("an unknown form was written")
	}
}

// Every wrong letter and every two that changed places are noticed, in their line.
func TestSheetFindsTypingErrors(t *testing.T) {
	t.Parallel()
	key := sheetKey(t)
	lines := sheetLines(key.Secret())
	try := func(what string, number int, line string) {
		t.Helper()
		typed := append([]string(nil), lines...)
		typed[number] = line
		_, err := ReadSheet(strings.NewReader(strings.Join(typed, "\n")))
		if err == nil {
			t.Errorf("%s in line %d went unnoticed: %s", what, number, line)
			return
		}
		if !strings.Contains(err.Error(), fmt.Sprintf("line %d ", number)) {
			t.Errorf("%s in line %d: %v", what, number, err)
		}
		wantNoSecret(t, err.Error(), key)
	}
	for number := 1; number < len(lines); number++ {
		line := lines[number]
		for at := strings.Index(line, ":") + 2; at < len(line); at++ {
			if line[at] == ' ' || line[at] == '/' {
				continue
			}
			for _, letter := range letters {
				if byte(letter) != line[at] {
					try("a wrong letter", number, line[:at]+string(letter)+line[at+1:])
				}
			}
			try("a missing letter", number, line[:at]+line[at+1:])
			if at+1 < len(line) && line[at+1] != ' ' && line[at] != line[at+1] {
				try("two letters in the other order", number, line[:at]+string(line[at+1])+string(line[at])+line[at+2:])
			}
		}
	}
}

func TestSheetRefuses(t *testing.T) {
	t.Parallel()
	key, other := mustKey(t), mustKey(t)
	lines, others := sheetLines(key.Secret()), sheetLines(other.Secret())
	join := func(parts ...string) string { return strings.Join(parts, "\n") }
	for _, test := range []struct{ name, text, want string }{
		{"empty", "", `no line "AGE-SECRET-KEY-1"`},
		{"no prefix", join(lines[1:]...), "no line"},
		{"a line is missing", join(lines[0], lines[1], lines[3]), "line 2 of 3 is missing"},
		{"a line of another key", join(lines[0], lines[1], others[2], lines[3]), "valid"},
		{"two keys", join(append(append([]string{}, lines...), others...)...), "two different lines 1"},
		{"two kinds", join(append([]string{pqSecretPrefix}, lines...)...), "two keys of different kinds"},
		{"wrong kind", join(append([]string{pqSecretPrefix}, lines[1:]...)...), "valid"},
		{"lines too many", join(append(append([]string{}, lines...), "4: QQQQ / "+lineCheck(4, "QQQQ"))...), "there are 4 lines"},
		{"no check", join(lines[0], strings.Split(lines[1], "/")[0]+"/", lines[2], lines[3]), "line 1 "},
		{"long line", lines[0] + "\n" + strings.Repeat("x", maxSheetBytes), "too long"},
	} {
		_, err := ReadSheet(strings.NewReader(test.text))
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
			continue
		}
		wantNoSecret(t, err.Error(), key, other)
	}
}
