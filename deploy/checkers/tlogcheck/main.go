// tlogcheck checks a C2SP tlog-tiles log (https://c2sp.org/tlog-tiles) with the libraries of Go's own checksum database
// and nothing of Psephos: it shares no code, no author and no language with what it checks.
//
//	tlogcheck -key 'psephos.local/vermont-2020+a9145c2a+AYqI…' http://127.0.0.1:8080/vermont-2020
//	tlogcheck -key … /var/lib/psephos/public/vermont-2020
//
// Each line on standard output is a check that passed. Exit status: 0 when all did, 1 at the first that did not, which is
// on standard error, 2 when it cannot be asked so.
package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const (
	// tileHeight is that of every tlog-tiles log: 256 hashes a tile.
	tileHeight = 8
	tileWidth  = 1 << tileHeight
	// blockSize is how many entries there are from one numbered checkpoint to the next (docs/spec.md, Log checkpoint).
	blockSize = 10_000
)

func main() {
	key := flag.String("key", "", "the log's verifier key, as C2SP signed-note writes it")
	samples := flag.Int64("samples", 64, "of how many entries, evenly spread, to check an inclusion proof")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: tlogcheck -key KEY URL|FOLDER")
		flag.PrintDefaults()
	}
	flag.Parse()
	verifier, err := note.NewVerifier(*key)
	if err != nil || flag.NArg() != 1 || *samples < 1 {
		if *key != "" && err != nil {
			fmt.Fprintln(os.Stderr, "tlogcheck: -key:", err)
		}
		flag.Usage()
		os.Exit(2)
	}
	if err := check(newSource(flag.Arg(0)), verifier, *samples); err != nil {
		fmt.Fprintln(os.Stderr, "tlogcheck:", err)
		os.Exit(1)
	}
}

// check is the whole check, in the order in which each step is founded on the one before.
func check(log *source, verifier note.Verifier, samples int64) error {
	latest, err := readCheckpoint(log, "checkpoint", verifier)
	if err != nil {
		return err
	}
	fmt.Printf("checkpoint: %s, %d entries, root %v\n", verifier.Name(), latest.N, latest.Hash)
	if err := checkGrowth(log, verifier, latest); err != nil {
		return err
	}
	if err := checkEntries(log, latest); err != nil {
		return err
	}
	return checkProofs(log, latest, samples)
}

// checkGrowth proves that each numbered checkpoint's log is a prefix of the next one's, and the last one's of the latest.
func checkGrowth(log *source, verifier note.Verifier, latest tlog.Tree) error {
	older := tlog.Tree{}
	prove := func(name string, newer tlog.Tree) error {
		if newer.N < older.N {
			return fmt.Errorf("%s: it has %d entries, fewer than the one before it, %d", name, newer.N, older.N)
		}
		if older.N > 0 {
			proof, err := tlog.ProveTree(newer.N, older.N, log.hashes(newer))
			if err != nil {
				return fmt.Errorf("%s: its tiles prove no growth from %d: %w", name, older.N, err)
			}
			if err := tlog.CheckTree(proof, newer.N, newer.Hash, older.N, older.Hash); err != nil {
				return fmt.Errorf("%s: not a continuation of the log of %d entries: %w", name, older.N, err)
			}
		}
		older = newer
		return nil
	}

	blocks := (latest.N + blockSize - 1) / blockSize
	for number := int64(1); number <= blocks; number++ {
		name := fmt.Sprintf("checkpoints/%010d", number)
		tree, err := readCheckpoint(log, name, verifier)
		if number*blockSize > latest.N && errors.Is(err, os.ErrNotExist) {
			break // The last block gets its checkpoint when it is full, or the log closed.
		}
		if err != nil {
			return err
		}
		if end := min(number*blockSize, latest.N); tree.N != end {
			return fmt.Errorf("%s: it has %d entries, not %d", name, tree.N, end)
		}
		if err := prove(name, tree); err != nil {
			return err
		}
		fmt.Printf("%s: %d entries, consistent\n", name, tree.N)
	}
	if err := prove("checkpoint", latest); err != nil {
		return err
	}
	fmt.Println("checkpoint: consistent with every numbered one")
	return nil
}

// checkEntries reads every entry and compares its leaf hash with the tiles, which TileHashReader authenticates up to the root.
func checkEntries(log *source, tree tlog.Tree) error {
	for first := int64(0); first < tree.N; first += tileWidth {
		bundle := tlog.Tile{H: tileHeight, L: -1, N: first / tileWidth, W: int(min(tileWidth, tree.N-first))}
		entries, err := log.entries(bundle)
		if err != nil {
			return err
		}
		indexes := make([]int64, len(entries))
		for i := range entries {
			indexes[i] = tlog.StoredHashIndex(0, first+int64(i))
		}
		hashes, err := log.hashes(tree).ReadHashes(indexes)
		if err != nil {
			return fmt.Errorf("the tiles of entries from %d on: %w", first, err)
		}
		for i, entry := range entries {
			if tlog.RecordHash(entry) != hashes[i] {
				return fmt.Errorf("entry %d is not the one whose hash is in the tree", first+int64(i))
			}
		}
	}
	fmt.Printf("entries: all %d are those of the tree\n", tree.N)
	return nil
}

// checkProofs makes and checks inclusion proofs, the way that somebody with one entry and the checkpoint would.
func checkProofs(log *source, tree tlog.Tree, samples int64) error {
	samples = min(samples, tree.N)
	for sample := range samples {
		index := sample * (tree.N - 1) / max(samples-1, 1) // The first and the last among them.
		bundle := tlog.Tile{H: tileHeight, L: -1, N: index / tileWidth}
		bundle.W = int(min(tileWidth, tree.N-bundle.N*tileWidth))
		entries, err := log.entries(bundle)
		if err != nil {
			return err
		}
		proof, err := tlog.ProveRecord(tree.N, index, log.hashes(tree))
		if err != nil {
			return fmt.Errorf("entry %d: the tiles prove no inclusion: %w", index, err)
		}
		leaf := tlog.RecordHash(entries[index%tileWidth])
		if err := tlog.CheckRecord(proof, tree.N, tree.Hash, index, leaf); err != nil {
			return fmt.Errorf("entry %d: %w", index, err)
		}
	}
	fmt.Printf("inclusion: %d proofs hold\n", samples)
	return nil
}

// readCheckpoint opens a signed checkpoint (https://c2sp.org/tlog-checkpoint). sumdb's own ParseTree knows one log alone.
func readCheckpoint(log *source, name string, verifier note.Verifier) (tlog.Tree, error) {
	signed, err := log.read(name)
	if err != nil {
		return tlog.Tree{}, err
	}
	opened, err := note.Open(signed, note.VerifierList(verifier))
	if err != nil {
		return tlog.Tree{}, fmt.Errorf("%s: %w", name, err)
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 || lines[0] != verifier.Name() {
		return tlog.Tree{}, fmt.Errorf("%s: not three lines of the log %s", name, verifier.Name())
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil || size < 0 || strconv.FormatInt(size, 10) != lines[1] {
		return tlog.Tree{}, fmt.Errorf("%s: %q is no size", name, lines[1])
	}
	root, err := tlog.ParseHash(lines[2])
	if err != nil {
		return tlog.Tree{}, fmt.Errorf("%s: %q is no root: %w", name, lines[2], err)
	}
	return tlog.Tree{N: size, Hash: root}, nil
}

// parseBundle splits an entry bundle: each entry is a u16 length, most significant byte first, and so many bytes.
func parseBundle(bundle []byte, count int) ([][]byte, error) {
	entries := make([][]byte, 0, count)
	for rest := bytes.NewBuffer(bundle); len(entries) < count; {
		length := rest.Next(2)
		if len(length) < 2 {
			return nil, fmt.Errorf("it ends after %d of %d entries", len(entries), count)
		}
		size := int(binary.BigEndian.Uint16(length))
		entry := rest.Next(size)
		if len(entry) < size {
			return nil, fmt.Errorf("it ends within entry %d", len(entries))
		}
		entries = append(entries, entry)
	}
	return entries, nil
}
