package manifest

// guideTemplate is RESTORE.txt. Only commands are indented by four spaces.
const guideTemplate = `Capstan backup set {{.Set.ID}}

Begun {{.Written}}{{with .Set.Host}} on {{.}}{{end}}{{with .Set.Job}}, job {{.}}{{end}}; status: {{.Set.Status}}.
Sources:
{{- range .Sources}}
  {{.}}
{{- end}}
{{- if eq .Set.Status "partial"}}

Something could not be stored. The manifest names it: "outcome":"failed", with
the reason.
{{- end}}

No Capstan is needed to restore it: GNU tar{{if eq .Cat "zstd -dcq"}}, zstd{{end}}{{if eq .Cat "gzip -dc"}}, gzip{{end}} and a POSIX shell (sh, bash) do.
The indented lines are commands. Run them in their order, in one shell, in the
directory of this file; as root if owners, devices and all attributes shall come
back. Stop when one of them reports a problem that you do not understand.

1. Say where the files shall go: an absolute path, best an empty directory.

    target=/restore

2. Check what lies here. Every line must end in OK.

    set_dir=$PWD
    mkdir -p "$target"
    sha256sum -c SHA256SUMS
{{- if .Chain}}

3. This set holds what changed since an earlier one. Restore these sets first,
   oldest first, each as its own RESTORE.txt says, into the same target:
{{range .Chain}}
  {{.}}
{{- end}}
{{- else}}

3. This set builds on no other.
{{- end}}
{{- if .Deleted}}

4. Remove what was deleted since. DELETED holds the paths, each ended by a NUL.

    (cd "$target" && xargs -0 rm -rf -- < "$set_dir/DELETED")
{{- else}}

4. Nothing was deleted.
{{- end}}
{{- if .Archives}}

5. Extract the archives in this order: a hard link needs the file that came before.

    set -- \
{{- range $i, $a := .Archives}}
      {{$a.Name}}{{if ne (next $i) (len $.Archives)}} \{{end}}
{{- end}}
    for archive do
      tar --xattrs --xattrs-include='*' --acls{{.TarFlag}} -xpf "$set_dir/$archive" -C "$target" ||
        echo "problem with $archive" >&2
    done
{{- else}}

5. There is nothing to extract: no content changed.
{{- end}}
{{- if .Split}}

6. Join the files that are larger than an archive. They were extracted as parts
   named FILE.capstan-part-NNNN; the first part becomes the file.
{{range $s := .Split}}
    (cd "$target" &&
    {{.File}} &&
    chmod u+w "$f{{.First}}" &&
{{- if .Rest}}
    cat \
{{- range .Rest}}
      "$f{{.}}" \
{{- end}}
      >> "$f{{.First}}" &&
    chmod --reference="$f{{.Last}}" "$f{{.First}}" &&
    touch -r "$f{{.Last}}" "$f{{.First}}" &&
    rm -f \
{{- range .Rest}}
      "$f{{.}}" \
{{- end}}
      &&
{{- end}}
    mv -fT "$f{{.First}}" "$f"
{{- range .Links}} &&
    {{.}} &&
    ln -fT "$f" "$l"
{{- end}})
{{end}}
{{- end}}
Notes
- Without root the commands are the same: tar names what it cannot restore and
  goes on.
- On a machine with other users, --numeric-owner restores owners by number.
- Times of directories that reach over several archives come out as the time of
  the restore.
{{- if .Cat}} One pass over all archives sets them right; instead of the loop:

  (cd "$set_dir" && {{.Cat}} -- "$@") | tar --xattrs --xattrs-include='*' --acls -i -xpf - -C "$target"
{{- end}}

- One file alone: find its archive with
  zstd -dcq manifest.json.zst | grep -F '"path":"PATH"'
  and extract it with tar as above, PATH at the end. A hard link has its content
  under the name in "link".
- SHA256SUMS.sig proves who wrote the set and which set came before it on this
  volume; docs/format-set.md of Capstan tells how openssl checks it.
`
