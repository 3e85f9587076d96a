package config

import _ "embed"

// starter.yaml: a line that begins with "## " explains, one that begins with "# "
// is an example and valid when these two characters are taken away.
//
//go:embed starter.yaml
var starter []byte

// Starter gives the text of a configuration file in which every key is
// explained by an example, all of them commented out.
func Starter() []byte { return append([]byte(nil), starter...) }
