package envelope

// sheetText is a recovery sheet for a typewriter font. No line but those of the
// key may look like one: a number, a colon, and a stroke after it.
const sheetText = `{{.Title}}

Made {{.Made}}{{with .For}} for {{.}}{{end}}.

Whoever holds this page can read every backup that is encrypted to this key.
Whoever loses it, and has the key nowhere else, can read none of them again:
nobody can help then. Keep it on paper, away from the backups and the machines.

The public key, which is no secret:

    {{.Recipient}}

The secret key. The letters behind each stroke only check their line.
{{range .Lines}}
    {{.}}
{{- end}}

The same key as a QR code:

{{.Code}}
To restore with Capstan

Type the secret key into a file as it stands above, all lines, or scan the QR
code into one. Then: chmod 600 key.txt, and

    capstan restore SET --to DIR --identity key.txt

To restore without Capstan

You need age (age-encryption.org{{if .PostQuantum}}, version 1.3 or later{{end}}), tar, and zstd or gzip.
Make a file key.txt of one line: {{index .Lines 0}} and, right behind it,
the letters of all lines in their order, without spaces, without numbers, and
without the check behind the stroke. Scanning the QR code gives this very line.
In the directory of the backup set:

    chmod 600 key.txt
    sha256sum -c SHA256SUMS
    for f in backup_*.tar.zst.age; do
      age -d -i key.txt "$f" | tar --zstd -xpf - -C DIR
    done

RESTORE.txt beside the archives says it in full. When you are done, delete
key.txt.
`

// sheetHTML is the same page for a browser.
const sheetHTML = `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{{.Title}}</title>
<style>
body { font: 11pt/1.4 Georgia, serif; max-width: 17cm; margin: 1.2cm auto; color: #000; background: #fff }
h1 { font-size: 17pt; letter-spacing: .06em } h2 { font-size: 12pt; margin-bottom: .2em }
pre { font: 10.5pt/1.5 "DejaVu Sans Mono", Consolas, Menlo, monospace; margin: .4em 0; white-space: pre-wrap }
.key { font-size: 13.5pt; border: 1px solid #000; padding: .5em 1em }
svg { width: 6.2cm; height: 6.2cm; float: right; margin: 0 0 .5em 1em }
p { margin: .5em 0 }
</style>
</head>
<body>
<h1>{{.Title}}</h1>
<p>Made {{.Made}}{{with .For}} for {{.}}{{end}}.</p>
<p><b>Whoever holds this page can read every backup that is encrypted to this key.
Whoever loses it, and has the key nowhere else, can read none of them again:
nobody can help then.</b> Keep it on paper, away from the backups and the machines.</p>
<p>The public key, which is no secret: <code>{{.Recipient}}</code></p>
<h2>The secret key</h2>
<p>The letters behind each stroke only check their line.</p>
<pre class="key">{{range .Lines}}
{{.}}
{{- end}}
</pre>
<svg viewBox="0 0 {{.Side}} {{.Side}}" shape-rendering="crispEdges" role="img" aria-label="the secret key as a QR code"><path d="M0 0h{{.Side}}v{{.Side}}h-{{.Side}}z" fill="#fff"/><path d="{{.Path}}" fill="#000"/></svg>
<h2>To restore with Capstan</h2>
<p>Type the secret key into a file as it stands above, all lines, or scan the QR code into one. Then:</p>
<pre>chmod 600 key.txt
capstan restore SET --to DIR --identity key.txt</pre>
<h2>To restore without Capstan</h2>
<p>You need age (age-encryption.org{{if .PostQuantum}}, version 1.3 or later{{end}}), tar, and zstd or gzip. Make a file
key.txt of one line: <code>{{index .Lines 0}}</code> and, right behind it, the letters of all lines in their order,
without spaces, without numbers, and without the check behind the stroke. Scanning the QR code gives this very line. In
the directory of the backup set:</p>
<pre>chmod 600 key.txt
sha256sum -c SHA256SUMS
for f in backup_*.tar.zst.age; do
  age -d -i key.txt "$f" | tar --zstd -xpf - -C DIR
done</pre>
<p>RESTORE.txt beside the archives says it in full. When you are done, delete key.txt.</p>
</body>
</html>
`
