package main

import (
	"context"
	"math/rand/v2"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	votev1 "psephos.example/gen/go/psephos/vote/v1"
)

const (
	maxAttempts = 6
	callTimeout = 10 * time.Second
	firstDelay  = 100 * time.Millisecond
	maxDelay    = 10 * time.Second
)

// cast records one vote, however often it has to be sent. A call that failed may have been carried out, and only its
// answer be lost; with the same request id the first answer comes again. So the request id belongs to the intended vote,
// not to the attempt: a program that may be restarted stores it before it calls, and repeats with the one that it stored.
func (m *mesh) cast(ctx context.Context, voter, candidate, request string) (*votev1.CastVoteResponse, error) {
	vote := &votev1.CastVoteRequest{
		ElectionId: m.election,
		VoterId:    voter,
		RequestId:  request,
		Choice:     &votev1.CastVoteRequest_CandidateId{CandidateId: candidate},
	}
	for attempt := 1; ; attempt++ {
		call, cancel := context.WithTimeout(ctx, callTimeout)
		answer, err := m.votes.CastVote(call, vote)
		cancel()
		if err == nil || attempt == maxAttempts || !isTransient(err) {
			return answer, err
		}
		if err := sleep(ctx, retryDelay(err, attempt)); err != nil {
			return nil, err
		}
	}
}

// isTransient tells what another attempt can mend. Everything else is an answer: ALREADY_EXISTS (the voter has voted, with
// another request id), FAILED_PRECONDITION (before opening or after closing), INVALID_ARGUMENT and so on.
func isTransient(err error) bool {
	switch status.Code(err) {
	case codes.Unavailable, codes.ResourceExhausted, codes.Aborted, codes.DeadlineExceeded:
		return true
	default:
		return false
	}
}

// retryDelay is what the server asks for (google.rpc.RetryInfo), or else doubles each time; up to half as much is added
// at random, so that those who failed together do not come back together.
func retryDelay(err error, attempt int) time.Duration {
	delay := firstDelay << min(attempt-1, 8)
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.RetryInfo); ok {
			delay = info.GetRetryDelay().AsDuration()
		}
	}
	delay = min(max(delay, firstDelay), maxDelay)
	return delay + rand.N(delay/2)
}

func sleep(ctx context.Context, delay time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(delay):
		return nil
	}
}
