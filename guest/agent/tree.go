package main

import (
	"archive/tar"
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"syscall"
)

// Trees: a directory of the container with all that lies in it, in or out as one tar. The same walk as that of single files: each
// directory is opened below one that is open already, and no link is followed.

const (
	// Each level is a directory that is held open.
	maxTreeDepth    = 100
	treeBufferBytes = 256 << 10
	// Follows an import's archive: one that is broken off can look as if it had come to its end.
	endMark = '.'
)

type treeRequest struct {
	// "import" or "export".
	Act string `json:"act"`
	// Absolute and normalised. An import makes the directory; an export may be of a single file, which is then called ".".
	Path string `json:"path"`
	// Of export: what the host takes at most.
	MaxEntries int   `json:"maxEntries"`
	MaxBytes   int64 `json:"maxBytes"`
	// Of export: names of directories whose content the host does not want.
	Prune []string `json:"prune"`
}

func tree(w http.ResponseWriter, r *http.Request) {
	var request treeRequest
	if err := readHead(r.Body, fileHeadBytes, &request); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	out := newFrames(w)
	answer(out, request.Path, request.serve(r.Body, out))
}

func (r treeRequest) serve(body io.Reader, out *frames) error {
	names, err := namesOf(r.Path)
	if err != nil {
		return err
	}
	place, err := startWalk()
	if err != nil {
		return err
	}
	defer func() { place.directory.Close() }() // the one that the walk ends in
	if r.Act == "export" {
		return r.export(place, names, out)
	}
	for _, name := range names {
		if err := place.enterOrMake(name); err != nil {
			return err
		}
	}
	return layOut(place, body)
}

// layOut makes files, directories and links of an archive's entries, all of them the agent's. What is there and no directory is replaced.
func layOut(root *walk, body io.Reader) error {
	source := bufio.NewReaderSize(body, treeBufferBytes)
	archive := tar.NewReader(source)
	open := &trunk{places: []*walk{root}}
	defer open.leave(0)
	buffer := make([]byte, 64<<10)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			if mark, err := source.ReadByte(); err != nil || mark != endMark {
				return errors.New("the archive was broken off")
			}
			return nil
		}
		if err != nil {
			return err
		}
		names, err := namesBelow(header.Name)
		if err != nil {
			return err
		}
		if header.Typeflag == tar.TypeDir {
			if _, err := open.at(names); err != nil {
				return err
			}
			continue
		}
		place, err := open.at(names[:len(names)-1])
		if err != nil {
			return err
		}
		name := names[len(names)-1]
		switch header.Typeflag {
		case tar.TypeReg:
			err = place.put(name, uint32(header.Mode)&0o755, archive, buffer)
		case tar.TypeSymlink:
			err = place.putLink(name, header.Linkname)
		default:
			err = fmt.Errorf("an entry of type %q", header.Typeflag)
		}
		if err != nil {
			return err
		}
	}
}

func namesBelow(name string) ([]string, error) {
	name = strings.TrimSuffix(name, "/")
	if !fs.ValidPath(name) || name == "." || strings.ContainsRune(name, 0) {
		return nil, errors.New("not a normalised path below a directory")
	}
	names := strings.Split(name, "/")
	if len(names) > maxTreeDepth {
		return nil, fileFailed{Code: "TOO_DEEP", Path: name}
	}
	return names, nil
}

// trunk holds the directories open that the last entry lay in: most entries lie beside the one before.
type trunk struct {
	names []string
	// One more than there are names: the first is the root of all.
	places []*walk
}

func (t *trunk) at(names []string) (*walk, error) {
	same := 0
	for same < len(names) && same < len(t.names) && names[same] == t.names[same] {
		same++
	}
	t.leave(same)
	for _, name := range names[same:] {
		next, err := t.places[len(t.places)-1].belowOrMake(name)
		if err != nil {
			return nil, err
		}
		t.names, t.places = append(t.names, name), append(t.places, next)
	}
	return t.places[len(t.places)-1], nil
}

// leave closes all but the first `keep` directories below the root.
func (t *trunk) leave(keep int) {
	for _, place := range t.places[keep+1:] {
		place.directory.Close()
	}
	t.names, t.places = t.names[:keep], t.places[:keep+1]
}

// place makes something under a name that is free, or else under another, which then takes the place of what has the name.
func (w *walk) place(name string, create func(as string) error) error {
	directory := int(w.directory.Fd())
	err := create(name)
	if !errors.Is(err, syscall.EEXIST) {
		return err
	}
	draft, err := draftName()
	if err != nil {
		return err
	}
	if err := create(draft); err != nil {
		return err
	}
	if err := syscall.Renameat(directory, draft, directory, name); err != nil {
		if errors.Is(err, syscall.EISDIR) {
			err = fileFailed{Code: "NOT_FILE", Path: path.Join(w.path, name), Kind: "directory"}
		}
		return errors.Join(err, unlinkAt(directory, draft))
	}
	return nil
}
