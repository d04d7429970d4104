package main

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
)

// vectors are those of docs/spec.md, as far as they are read here.
type vectors struct {
	Keys struct {
		Valid []struct{ Name, Seed, VerifierKey string }
	}
	Checkpoints struct {
		Valid, Refused []struct {
			Origin, Text, Why string
			Size              int64
			Stricter          bool // Refused by more than the formats ask for.
		}
	}
	TlogProofs struct {
		Valid, Refused []struct {
			Entry, Text, VerifierKey, Why string
			Index, Size                   int64
		}
	}
}

func readVectors(t *testing.T) *vectors {
	t.Helper()
	text, err := os.ReadFile("../../../internal/tlog/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	all := new(vectors)
	if err := json.Unmarshal(text, all); err != nil {
		t.Fatal(err)
	}
	return all
}

func newVerifier(t *testing.T, key string) note.Verifier {
	t.Helper()
	log, err := note.NewVerifier(key)
	if err != nil {
		t.Fatal(err)
	}
	return log
}

// newSigner has the key of a seed: what is signed is to be refused for what it says, not for its signature.
func newSigner(t *testing.T, name, seed, verifierKey string) note.Signer {
	t.Helper()
	key, err := hex.DecodeString("01" + seed) // Ed25519
	if err != nil {
		t.Fatal(err)
	}
	id, _, _ := strings.Cut(strings.TrimPrefix(verifierKey, name+"+"), "+")
	signer, err := note.NewSigner("PRIVATE+KEY+" + name + "+" + id + "+" + base64.StdEncoding.EncodeToString(key))
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

func TestCheckpointVectors(t *testing.T) {
	all := readVectors(t)
	key := all.Keys.Valid[0]
	signer, log := newSigner(t, key.Name, key.Seed, key.VerifierKey), newVerifier(t, key.VerifierKey)
	open := func(text string) (*checkpoint, error) {
		signed, err := note.Sign(&note.Note{Text: text}, signer)
		if err != nil {
			return nil, err // It is no note.
		}
		return openCheckpoint(string(signed), log)
	}
	for _, valid := range all.Checkpoints.Valid {
		c, err := open(valid.Text)
		if valid.Origin != key.Name {
			if err == nil {
				t.Errorf("accepted as of %s: the log %s", key.Name, valid.Origin)
			}
		} else if err != nil || c.N != valid.Size {
			t.Errorf("%d entries: got %v, %v", valid.Size, c, err)
		}
	}
	for _, refused := range all.Checkpoints.Refused {
		if _, err := open(refused.Text); err == nil && !refused.Stricter {
			t.Errorf("accepted: %s", refused.Why)
		}
	}
}

var head = regexp.MustCompile(`^(c2sp.org/tlog-proof@v1\n)(extra [A-Za-z0-9+/=]*\n)?(index )`)

// withEntry makes a tlog-proof a receipt: its `extra` line is the entry.
func withEntry(t *testing.T, text, entry string) string {
	t.Helper()
	decoded, err := hex.DecodeString(entry)
	if err != nil {
		t.Fatal(err)
	}
	return head.ReplaceAllString(text, "${1}extra "+base64.StdEncoding.EncodeToString(decoded)+"\n${3}")
}

func TestReceiptVectors(t *testing.T) {
	proofs := readVectors(t).TlogProofs
	for _, valid := range proofs.Valid {
		r, err := openReceipt(withEntry(t, valid.Text, valid.Entry), newVerifier(t, valid.VerifierKey))
		if err != nil {
			t.Errorf("index %d of %d: %v", valid.Index, valid.Size, err)
		} else if r.Index != valid.Index || r.Log.N != valid.Size {
			t.Errorf("index %d of %d: got %d of %d", valid.Index, valid.Size, r.Index, r.Log.N)
		}
	}
	base := proofs.Valid[1] // Those that are refused are variants of it.
	for _, refused := range proofs.Refused {
		if _, err := openReceipt(withEntry(t, refused.Text, base.Entry), newVerifier(t, base.VerifierKey)); err == nil {
			t.Errorf("accepted: %s", refused.Why)
		}
	}
}

// No bit of a receipt can be changed, up to its signatures, of which those of others are ignored.
func TestReceiptChanges(t *testing.T) {
	valid := readVectors(t).TlogProofs.Valid[1]
	log := newVerifier(t, valid.VerifierKey)
	text := withEntry(t, valid.Text, valid.Entry)
	for at := range strings.Index(text, "\n—") {
		for bit := range 8 {
			changed := []byte(text)
			changed[at] ^= 1 << bit
			if _, err := openReceipt(string(changed), log); err == nil {
				t.Errorf("accepted with byte %d changed from %q to %q", at, text[at], changed[at])
			}
		}
	}
}
