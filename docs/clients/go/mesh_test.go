package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	votev1 "psephos.example/gen/go/psephos/vote/v1"
)

// meshProfile is of a deployment that runs, with an open election that has the choice "ada". internal/integration starts one.
func meshProfile(t *testing.T) *profile {
	t.Helper()
	path := os.Getenv("PSEPHOS_PROFILE")
	if path == "" {
		t.Skip("PSEPHOS_PROFILE names no deployment")
	}
	p, err := readProfile(path)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func connect(t *testing.T, options ...grpc.DialOption) *mesh {
	t.Helper()
	m, err := meshProfile(t).connect("", options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.close)
	return m
}

func deadline(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// unreliable is a network that loses the first request, and then an answer, to a call that the server has carried out.
func unreliable() grpc.DialOption {
	calls := 0
	return grpc.WithUnaryInterceptor(func(
		ctx context.Context, method string, request, answer any,
		connection *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption,
	) error {
		calls++
		if calls == 1 {
			return status.Error(codes.Unavailable, "the request was lost")
		}
		err := invoke(ctx, method, request, answer, connection, options...)
		if err == nil && calls == 2 {
			return status.Error(codes.Unavailable, "the answer was lost")
		}
		return err
	})
}

func TestCastOnce(t *testing.T) {
	ctx := deadline(t)
	voter, request := "voter "+rand.Text(), rand.Text()
	vote, err := connect(t, unreliable()).cast(ctx, voter, "ada", request)
	if err != nil {
		t.Fatal(err)
	}
	again, err := connect(t).cast(ctx, voter, "ada", request)
	if err != nil || again.GetVoteId() != vote.GetVoteId() || !bytes.Equal(again.GetRecordHash(), vote.GetRecordHash()) {
		t.Errorf("repeated: got %v, %v; want the answer %v", again, err, vote)
	}
	_, err = connect(t).cast(ctx, voter, "ada", rand.Text())
	if status.Code(err) != codes.AlreadyExists || reasonOf(err) != "ALREADY_VOTED" {
		t.Errorf("cast with another request id: %v", err)
	}
	_, err = connect(t).cast(ctx, "voter "+rand.Text(), "nobody", rand.Text())
	if status.Code(err) != codes.InvalidArgument {
		t.Errorf("cast for a choice that there is not: %v", err)
	}
}

// reasonOf is the constant that says why a call was refused.
func reasonOf(err error) string {
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			return info.GetReason()
		}
	}
	return ""
}

func TestServerIsWhoItShouldBe(t *testing.T) {
	p := meshProfile(t)
	p.Edge = p.Publisher // Which has a certificate of the same authority.
	m, err := p.connect("")
	if err != nil {
		t.Fatal(err)
	}
	defer m.close()
	_, err = m.votes.CastVote(deadline(t), &votev1.CastVoteRequest{ElectionId: m.election})
	if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "authentication handshake failed") {
		t.Errorf("cast to the Publisher: %v", err)
	}
}

func TestContinues(t *testing.T) {
	m := &mesh{} // Which is not asked.
	tree := func(size int64, root byte) *checkpoint {
		return &checkpoint{Tree: tlog.Tree{N: size, Hash: tlog.Hash{root}}}
	}
	for _, step := range []struct {
		last, next *checkpoint
		err        string
	}{
		{tree(0, 0), tree(3, 1), ""},
		{tree(3, 1), tree(3, 1), ""},
		{tree(3, 1), tree(2, 1), "the log shrank from 3 to 2 entries"},
		{tree(3, 1), tree(3, 2), "the log is forked: two roots of 3 entries"},
	} {
		err := m.checkContinues(t.Context(), step.last, step.next)
		if got := fmt.Sprint(err); err == nil && step.err != "" || err != nil && got != step.err {
			t.Errorf("%v after %v: %v", step.next.Tree, step.last.Tree, err)
		}
	}
}

// Two votes, so that a later checkpoint has to continue an earlier one.
func TestReceiptsOfVotes(t *testing.T) {
	ctx := deadline(t)
	m := connect(t)
	log, err := verifier(ctx, m)
	if err != nil {
		t.Fatal(err)
	}
	vote, err := m.cast(ctx, "voter "+rand.Text(), "ada", rand.Text())
	if err != nil {
		t.Fatal(err)
	}
	first := vote
	for c, err := range m.checkpoints(ctx, log) {
		if err != nil {
			t.Fatal(err)
		}
		text, err := m.receiptOf(ctx, vote.GetVoteId(), c)
		if code := status.Code(err); code == codes.NotFound || code == codes.InvalidArgument {
			continue // Not in this one.
		} else if err != nil {
			t.Fatal(err)
		}
		r, err := openReceipt(text, log)
		if err != nil {
			t.Fatal(err)
		}
		if hash, err := r.recordHash(); err != nil || !bytes.Equal(hash, vote.GetRecordHash()) {
			t.Errorf("the receipt is of record hash %x, %v; want %x", hash, err, vote.GetRecordHash())
		}
		if vote != first {
			return
		}
		if vote, err = m.cast(ctx, "voter "+rand.Text(), "ada", rand.Text()); err != nil {
			t.Fatal(err)
		}
	}
}
