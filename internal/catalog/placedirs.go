package catalog

import (
	"bytes"

	"capstan"
)

// dirOf gives the id of a directory. Where the catalog does not know it yet, it
// is made, and those above it, with an entry of outcome 0 that its own entry
// will replace.
func (p *placer) dirOf(t *tx, path []byte) (int64, error) {
	if len(path) == 0 {
		return rootDir, nil
	}
	if p.lastDir != rootDir && bytes.Equal(path, p.lastPath) {
		return p.lastDir, nil
	}
	id, ok := p.dirs.get(path)
	if !ok {
		var err error
		if id, err = p.findDir(t, path); err != nil {
			return 0, err
		}
	}
	p.lastPath, p.lastDir = append(p.lastPath[:0], path...), id
	return id, nil
}

// findDir looks a directory up in the catalog, or makes it.
func (p *placer) findDir(t *tx, path []byte) (int64, error) {
	above, name := splitBytes(path)
	parent, err := p.dirOf(t, above)
	if err != nil {
		return 0, err
	}
	if err := p.flush(t); err != nil { // what was not written yet would not be found
		return 0, err
	}
	var child *int64
	found, err := t.one(sqlChildOf, with(p.no, parent, name), &child)
	if err != nil {
		return 0, err
	}
	if child != nil {
		p.dirs.put(string(path), *child)
		return *child, nil
	}
	id, err := p.newDir(t, parent, name, path)
	if err != nil {
		return 0, err
	}
	if found { // something that is no directory has entries in it nonetheless
		_, err = t.exec(sqlGiveChild, id, p.no, parent, name)
		return id, err
	}
	if !p.careful {
		p.implied[string(path)] = true
	}
	return id, p.insert(t, parent, name, id, placed{row: &row{kind: capstan.KindDir}})
}

// newDir gives a directory the next id.
func (p *placer) newDir(t *tx, parent int64, name, path []byte) (int64, error) {
	id := p.nextDir
	p.nextDir++
	p.dirs.put(string(path), id)
	return id, p.newDirs.add(t, id, parent, name)
}
