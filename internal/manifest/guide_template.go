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

No Capstan is needed to restore it: {{if .Encrypted}}age{{if .PostQuantum}} 1.3 or later{{end}}, {{end}}GNU tar{{if eq .Cat "zstd -dcq"}}, zstd{{end}}{{if eq .Cat "gzip -dc"}}, gzip{{end}} and a POSIX shell (sh, bash) do.
The indented lines are commands. Run them in their order, in one shell, in the
directory of {{if .Encrypted}}the set{{else}}this file{{end}}; as root if owners, devices and all attributes shall come
back. Stop when one of them reports a problem that you do not understand.

1. Say where the files shall go: an absolute path, best an empty directory.

    target=/restore
{{- if .Encrypted}}

   And how the files are opened.{{if .Passphrase}} age asks for the passphrase once for every file.

    unseal() { age -d "$1"; }
{{- else}} The file holds the secret key of one of these
   public keys, a line AGE-SECRET-KEY-…, and is for its owner alone (chmod 600):
{{range .Set.Recipients}}
  {{.}}
{{- end}}

    key=/root/key.txt
    unseal() { age -d -i "$key" "$1"; }
{{- end}}
{{- end}}

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

{{- if .Encrypted}}
    unseal "$set_dir/DELETED.age" | (cd "$target" && xargs -0 rm -rf --)
{{- else}}
    (cd "$target" && xargs -0 rm -rf -- < "$set_dir/DELETED")
{{- end}}
{{- else}}

4. Nothing was deleted.
{{- end}}
{{- if .Archives}}

5. Extract the archives in this order: a hard link needs the file that came before.

    set -- \
{{- range $i, $a := .Archives}}
      {{$a.Name}}{{if ne (next $i) (len $.Archives)}} \{{end}}
{{- end}}
{{- if .Encrypted}}
    (for archive do
      { unseal "$set_dir/$archive" || echo "problem with $archive" >&2; } | {{if .Cat}}{{.Cat}} ||
        echo "problem with the content of $archive" >&2{{else}}
        case $archive in
        *.zst.age) zstd -dcq ;;
        *.gz.age) gzip -dc ;;
        *) cat ;;
        esac{{end}}
    done) | (
{{- else if .Cat}}
    (cd "$set_dir" && {{.Cat}} -- "$@" ||
      echo "problem with an archive" >&2) | (
{{- else}}
    (cd "$set_dir" && for archive do
      case $archive in
      *.zst) zstd -dcq -- "$archive" ;;
      *.gz) gzip -dc -- "$archive" ;;
      *) cat -- "$archive" ;;
      esac || echo "problem with $archive" >&2
    done) | (
{{- end}}
{{- if .Later}}
      set -- --no-wildcards --anchored &&
{{- range .Later}}
      {{.}} && set -- "$@" --exclude="${l#./}" &&
{{- end}}
{{- else}}
      set -- &&
{{- end}}
      tar "$@" --xattrs --xattrs-include='*' --acls -i -xpf - -C "$target" ||
        echo "problem: tar could not restore all of it" >&2)
{{- else}}

5. There is nothing to extract: no content changed.
{{- end}}
{{- if .Split}}

6. Join the files that are larger than an archive. They were extracted as parts
   named FILE.capstan-part-NNNN; the first part becomes the file.{{if .Later}} Hard links to
   such a file were left out above, and are made here.{{end}}{{if .Unsaid}} What tar said
   above of hard links to them that it cannot make is settled here.{{end}}

    unlock() {
      dir=${1%/*} && mode=$(stat -c %a "$dir") && time=$(stat -c %.9Y "$dir") &&
        { [ -w "$dir" ] || chmod u+wx "$dir"; }
    }
    lock() {
      { chmod "$mode" "$dir" && touch -m -d "@$time" "$dir"; } ||
        echo "problem with mode and time of $dir" >&2
    }
{{range $s := .Split}}
    (cd "$target" &&
    {{.File}} &&
    {{.Stem}} &&
{{- if .InDir}}
    unlock "$f" &&
{{- end}}
    chmod u+w "$p{{.First}}" &&
{{- if .Rest}}
{{- if .Sparse}}
{{- range .Rest}}
    dd if="$p{{.Ending}}" of="$p{{$s.First}}" bs=64K iflag=fullblock oflag=seek_bytes seek={{.Start}} conv=notrunc,sparse status=none &&
{{- end}}
    truncate -s {{.Size}} "$p{{.First}}" &&
{{- else}}
    cat \
{{- range .Rest}}
      "$p{{.Ending}}" \
{{- end}}
      >> "$p{{.First}}" &&
{{- end}}
    chmod --reference="$p{{.Last}}" "$p{{.First}}" &&
    touch -r "$p{{.Last}}" "$p{{.First}}" &&
    rm -f \
{{- range .Rest}}
      "$p{{.Ending}}" \
{{- end}}
      &&
{{- end}}
    mv -fT "$p{{.First}}" "$f"
{{- if .InDir}} &&
    lock
{{- end}}
{{- range .Links}} &&
    {{.Set}} &&
{{- if .InDir}}
    unlock "$l" &&
{{- end}}
    ln -fT "$f" "$l"
{{- if .InDir}} &&
    lock
{{- end}}
{{- end}})
{{end}}
{{- else}}
{{end}}
Notes
- Without root the commands are the same: tar names what it cannot restore and
  goes on. Where it says "Permission denied" in a directory that it made read-only
  before, make that directory writable (chmod u+w) and run step 5 again.
- On a machine with other users, --numeric-owner restores owners by number.
{{- if .Long}}
- {{.Long}} of the paths here are longer than the 4,095 bytes that tar can make; it
  says "File name too long" of them, and of hard links to them that it cannot
  make them. "capstan restore" makes them all.
{{- end}}
{{- if .Archives}}
- When an archive is damaged, tar may lose what follows the damage. Archive by
  archive it loses less; instead of the command in step 5:

  for archive do
  {{if .Encrypted}}unseal "$set_dir/$archive" | {{end}}tar --xattrs --xattrs-include='*' --acls{{.TarFlag}} -xpf {{if .Encrypted}}-{{else}}"$set_dir/$archive"{{end}} -C "$target" || echo "problem with $archive" >&2
  done

  Then directories that reach over several archives get the time of the restore;
  without root, read-only ones lack what is not in their first archive; and hard
  links to files of step 6 are made there only.
{{- end}}

- One file alone: find its archive with
  {{if .Encrypted}}unseal manifest.json.zst.age | zstd -dcq{{else}}zstd -dcq manifest.json.zst{{end}} | grep -F '"path":"PATH"'
  and extract it with tar as above, PATH at the end. A hard link has its content
  under the name in "link".
- SHA256SUMS.sig proves who wrote the set and which set came before it on this
  volume; docs/format-set.md of Capstan tells how openssl checks it.
`

// clearTemplate is the RESTORE.txt of an encrypted set, which anybody may read: it
// names nothing that was backed up.
const clearTemplate = `Capstan backup set {{.Set.ID}}, encrypted

Begun {{.Written}}. Its files are encrypted with age (age-encryption.org; the
package is called age). {{if .Passphrase}}They open with a passphrase.

RESTORE.txt.age tells how the set is restored. Read it with

    age -d RESTORE.txt.age
{{- else}}They open with the secret key of one of these public keys:
{{range .Set.Recipients}}
  {{.}}
{{- end}}

RESTORE.txt.age tells how the set is restored. Put the secret key, a line
AGE-SECRET-KEY-…, into a file key.txt for its owner alone (chmod 600), and read it with

    age -d -i key.txt RESTORE.txt.age
{{- end}}
{{- if .PostQuantum}}

This takes age 1.3 or later.
{{- end}}

No key is needed to see whether all files are here and as they were written:

    sha256sum -c SHA256SUMS
`
