// An example of a client of Psephos: it casts a vote, watches the log, and gets and verifies a receipt. A file each:
// mesh.go (mutual TLS), cast.go (safe retries), watch.go, checkpoint.go, receipt.go. docs/clients.md shows it at work.
package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strconv"

	"golang.org/x/mod/sumdb/note"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	digestv1 "psephos.example/gen/go/psephos/digest/v1"
)

var (
	profilePath = flag.String("profile", cmp.Or(os.Getenv("PSEPHOS_PROFILE"), ".psephos/profile.json"), "where the deployment is and who we are")
	election    = flag.String("election", "", "the election, if it is not the profile's")
	logKey      = flag.String("log-key", "", "the log's verifier key; unless given, the Publisher's word is taken for it")
	request     = flag.String("request", rand.Text(), "the id of an intended vote: to repeat it, give it again")
)

var errUsage = errors.New(`usage: go run . [flags] cast VOTER CANDIDATE
       go run . [flags] watch
       go run . [flags] receipt VOTE
       go run . --log-key KEY verify FILE`)

func main() {
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, flag.Arg(0), flag.Args()); err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, command string, args []string) error {
	if command == "verify" && len(args) == 2 {
		return verify(args[1])
	}
	p, err := readProfile(*profilePath)
	if err != nil {
		return err
	}
	m, err := p.connect(*election)
	if err != nil {
		return err
	}
	defer m.close()
	switch {
	case command == "cast" && len(args) == 3:
		return cast(ctx, m, args[1], args[2])
	case command == "watch" && len(args) == 1:
		return watch(ctx, m)
	case command == "receipt" && len(args) == 2:
		return printReceipt(ctx, m, args[1])
	default:
		return errUsage
	}
}

func cast(ctx context.Context, m *mesh, voter, candidate string) error {
	vote, err := m.cast(ctx, voter, candidate, *request)
	if err != nil {
		return fmt.Errorf("not cast (request %s): %w", *request, err)
	}
	fmt.Printf("vote %d, record hash %x\n", vote.GetVoteId(), vote.GetRecordHash())
	return nil
}

func watch(ctx context.Context, m *mesh) error {
	log, err := verifier(ctx, m)
	if err != nil {
		return err
	}
	for c, err := range m.checkpoints(ctx, log) {
		if err != nil {
			return err
		}
		fmt.Printf("%d entries, root %v\n", c.N, c.Hash)
	}
	return nil
}

// printReceipt waits until the vote is in the log.
func printReceipt(ctx context.Context, m *mesh, vote string) error {
	id, err := strconv.ParseUint(vote, 10, 64)
	if err != nil {
		return err
	}
	log, err := verifier(ctx, m)
	if err != nil {
		return err
	}
	for c, err := range m.checkpoints(ctx, log) {
		if err != nil {
			return err
		}
		text, err := m.receiptOf(ctx, id, c)
		switch status.Code(err) {
		case codes.OK:
			if _, err := openReceipt(text, log); err != nil {
				return err
			}
			fmt.Print(text)
			return nil
		case codes.NotFound, codes.InvalidArgument: // Not yet.
		default:
			return err
		}
	}
	return nil
}

func verify(path string) error {
	log, err := note.NewVerifier(*logKey)
	if err != nil {
		return fmt.Errorf("--log-key: %w", err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	r, err := openReceipt(string(text), log)
	if err != nil {
		return err
	}
	hash, err := r.recordHash()
	if err != nil {
		return err
	}
	shard, sequence := r.position()
	fmt.Printf("entry %d of %d: shard %d, sequence %d, record hash %x\n", r.Index, r.Log.N, shard, sequence, hash)
	return nil
}

func verifier(ctx context.Context, m *mesh) (note.Verifier, error) {
	if *logKey != "" {
		return note.NewVerifier(*logKey)
	}
	answer, err := m.digests.GetLogKey(ctx, &digestv1.GetLogKeyRequest{ElectionId: m.election})
	if err != nil {
		return nil, err
	}
	return note.NewVerifier(answer.GetVerifierKey())
}
