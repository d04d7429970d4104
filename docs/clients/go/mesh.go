package main

import (
	"cmp"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"

	auditv1 "psephos.example/gen/go/psephos/audit/v1"
	digestv1 "psephos.example/gen/go/psephos/digest/v1"
	votev1 "psephos.example/gen/go/psephos/vote/v1"
)

const keepaliveInterval = 30 * time.Second

// A profile says where a deployment is and who we are there. `npm start` writes one to .psephos/profile.json.
type profile struct {
	TrustDomain string `json:"trust_domain"`
	// Edge, Audit and Publisher are the gRPC addresses, host:port, of VoteService, AuditService and the Publisher.
	Edge       string `json:"edge"`
	Audit      string `json:"audit"`
	Publisher  string `json:"publisher"`
	Identities struct {
		Client identity `json:"client"`
	} `json:"identities"`
	Election string `json:"election"`
}

// An identity is paths of PEM files: whom to trust, our certificate, and its private key.
type identity struct {
	CA   string `json:"ca"`
	Cert string `json:"cert"`
	Key  string `json:"key"`
}

func readProfile(path string) (*profile, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	p := new(profile)
	if err := json.Unmarshal(text, p); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return p, nil
}

// dial returns a connection, made when it is first used, to whoever proves to be `service`, such as "vote-service".
// Both sides show a certificate with a SPIFFE ID. An address says where a peer is, not who, so host names are not compared.
func (p *profile) dial(address, service string, options ...grpc.DialOption) (*grpc.ClientConn, error) {
	domain, err := spiffeid.TrustDomainFromString(p.TrustDomain)
	if err != nil {
		return nil, err
	}
	server, err := spiffeid.FromSegments(domain, "service", service)
	if err != nil {
		return nil, err
	}
	trusted, err := x509bundle.Load(domain, p.Identities.Client.CA)
	if err != nil {
		return nil, err
	}
	own, err := x509svid.Load(p.Identities.Client.Cert, p.Identities.Client.Key)
	if err != nil {
		return nil, err
	}
	config := tlsconfig.MTLSClientConfig(own, trusted, tlsconfig.AuthorizeID(server))
	config.MinVersion = tls.VersionTLS13
	options = append(options,
		grpc.WithTransportCredentials(credentials.NewTLS(config)),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: keepaliveInterval}), // Ends a stream whose peer is gone.
	)
	return grpc.NewClient(address, options...)
}

// A mesh is the services of a deployment, and one election there.
type mesh struct {
	election    string
	votes       votev1.VoteServiceClient
	digests     digestv1.DigestServiceClient
	audit       auditv1.AuditServiceClient
	connections []*grpc.ClientConn
}

// connect opens the election named, or the profile's. The options are for the connection to VoteService.
func (p *profile) connect(election string, options ...grpc.DialOption) (*mesh, error) {
	votes, err1 := p.dial(p.Edge, "vote-service", options...)
	digests, err2 := p.dial(p.Publisher, "publisher")
	audit, err3 := p.dial(p.Audit, "audit-service")
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, err
	}
	return &mesh{
		election:    cmp.Or(election, p.Election),
		votes:       votev1.NewVoteServiceClient(votes),
		digests:     digestv1.NewDigestServiceClient(digests),
		audit:       auditv1.NewAuditServiceClient(audit),
		connections: []*grpc.ClientConn{votes, digests, audit},
	}, nil
}

func (m *mesh) close() {
	for _, connection := range m.connections {
		connection.Close()
	}
}
