package pgserver

import (
	"encoding/json"
	"testing"
	"time"
)

// FuzzJournal: a journal that is taken loses no change when it is written and read
// again, and striking one leaves the others.
func FuzzJournal(f *testing.F) {
	good := journalFile{Version: journalVersion, SystemID: "7123", Data: "/var/lib/postgresql/17/main", Changes: []Change{
		{Kind: ChangeRole, Object: "app", Time: time.Unix(1_700_000_000, 0).UTC(), URL: "postgres://localhost/"},
		{Kind: ChangeArchive, Object: "archive_command", Line: "archive_command = 'cp %p /a/%f'"},
		{Kind: ChangeSubscription, Object: "sub", URL: "postgres://other/db"},
	}}
	text, err := json.Marshal(good)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add(text[:40])
	f.Add([]byte(`{"version":2}`))
	f.Add([]byte(`{"version":1,"changes":[{"kind":"\u0000","object":"\ud800"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		content, err := parseJournal(data)
		if err != nil {
			if content.Changes != nil {
				t.Fatalf("%q is refused, and gives %+v", data, content)
			}
			return
		}
		text, err := json.Marshal(content)
		if err != nil {
			return // a time that JSON takes and does not give
		}
		again, err := parseJournal(text)
		if err != nil || len(again.Changes) != len(content.Changes) || again.SystemID != content.SystemID || again.Data != content.Data {
			t.Fatalf("%q became %+v\nthen %+v, %v", data, content, again, err)
		}
		for i, c := range content.Changes {
			if !c.same(again.Changes[i]) || c.Line != again.Changes[i].Line || !c.Time.Equal(again.Changes[i].Time) || c.String() == "" {
				t.Fatalf("%+v became %+v", c, again.Changes[i])
			}
		}
	})
}
