package catalog

import (
	"encoding/json"
	"fmt"
	"unicode/utf8"
)

// rawString is a string as JSON keeps it: as it is where it is UTF-8, else as
// {"base64": …}, so that a path of any bytes comes back unchanged.
type rawString string

type base64String struct {
	Base64 []byte `json:"base64"`
}

func (s rawString) MarshalJSON() ([]byte, error) {
	if utf8.ValidString(string(s)) {
		return json.Marshal(string(s))
	}
	return json.Marshal(base64String{[]byte(s)})
}

func (s *rawString) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] == '{' {
		var raw base64String
		if err := json.Unmarshal(data, &raw); err != nil {
			return err
		}
		*s = rawString(raw.Base64)
		return nil
	}
	return json.Unmarshal(data, (*string)(s))
}

func encodeList(list []string) (string, error) {
	raw := make([]rawString, len(list))
	for i, s := range list {
		raw[i] = rawString(s)
	}
	data, err := json.Marshal(raw)
	return string(data), err
}

func decodeList(data string) ([]string, error) {
	var raw []rawString
	if err := json.Unmarshal([]byte(data), &raw); err != nil {
		return nil, fmt.Errorf("list in the catalog: %w", err)
	}
	list := make([]string, len(raw))
	for i, s := range raw {
		list[i] = string(s)
	}
	return list, nil
}
