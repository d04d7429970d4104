package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// maxBytes is more than the largest object of a log, a bundle of 256 entries of 64 KiB.
const maxBytes = 256*(2+1<<16) + 1

// A source is where a log's objects are: an HTTP server, or a folder.
type source struct {
	base   string
	client http.Client
	// tiles keeps hash tiles: every proof needs the few of the upper levels.
	tiles map[string][]byte
}

func newSource(base string) *source {
	return &source{
		base:   strings.TrimSuffix(base, "/"),
		client: http.Client{Timeout: 30 * time.Second},
		tiles:  map[string][]byte{},
	}
}

// read returns an object by its path in the log. What is not there is os.ErrNotExist.
func (s *source) read(path string) ([]byte, error) {
	data, err := s.fetch(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return data, nil
}

func (s *source) fetch(path string) ([]byte, error) {
	if !strings.HasPrefix(s.base, "http://") && !strings.HasPrefix(s.base, "https://") {
		return os.ReadFile(filepath.Join(s.base, filepath.FromSlash(path)))
	}
	response, err := s.client.Get(s.base + "/" + path)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	switch response.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound:
		return nil, os.ErrNotExist
	default:
		return nil, errors.New(response.Status)
	}
	data, err := io.ReadAll(io.LimitReader(response.Body, maxBytes))
	if err == nil && len(data) == maxBytes {
		return nil, fmt.Errorf("longer than any object of a log")
	}
	return data, err
}

// readTile returns a tile, or a longer one of the same place: a partial tile may be gone once the full one is there.
func (s *source) readTile(tile tlog.Tile) ([]byte, error) {
	data, err := s.read(tilePath(tile))
	if tile.W < tileWidth && errors.Is(err, os.ErrNotExist) {
		tile.W = tileWidth
		data, err = s.read(tilePath(tile))
	}
	return data, err
}

// tilePath is tlog's own path without the height, which tlog-tiles fixes, and with "entries" for "data".
func tilePath(tile tlog.Tile) string {
	path := strings.TrimPrefix(tile.Path(), fmt.Sprintf("tile/%d/", tileHeight))
	return "tile/" + strings.Replace(path, "data/", "entries/", 1)
}

// entries returns those of an entry bundle.
func (s *source) entries(bundle tlog.Tile) ([][]byte, error) {
	data, err := s.readTile(bundle)
	if err != nil {
		return nil, err
	}
	entries, err := parseBundle(data, bundle.W)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", tilePath(bundle), err)
	}
	return entries, nil
}

// hashes reads a tree's hashes from its tiles. TileHashReader believes no tile that does not hash to the tree's root.
func (s *source) hashes(tree tlog.Tree) tlog.HashReader {
	return tlog.TileHashReader(tree, tiles{s})
}

type tiles struct{ *source }

func (tiles) Height() int { return tileHeight }

func (t tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	read := make([][]byte, len(wanted))
	for i, tile := range wanted {
		path := tilePath(tile)
		data, known := t.tiles[path]
		if !known {
			var err error
			if data, err = t.readTile(tile); err != nil {
				return nil, err
			}
			if size := tile.W * tlog.HashSize; len(data) < size {
				return nil, fmt.Errorf("%s: %d bytes, not %d", path, len(data), size)
			} else {
				data = data[:size]
			}
			t.tiles[path] = data
		}
		read[i] = data
	}
	return read, nil
}

// SaveTiles has nothing to do: what is wrong ends the check.
func (tiles) SaveTiles([]tlog.Tile, [][]byte) {}
