// An example of a client of Psephos in Go. docs/clients.md says what it shows.
module psephos.example/docs/clients/go

go 1.26.0

// The generated code, beside us in this repository.
replace psephos.example/gen/go => ../../../gen/go

require (
	github.com/spiffe/go-spiffe/v2 v2.9.0
	golang.org/x/mod v0.43.0
	google.golang.org/genproto/googleapis/rpc v0.0.0-20261110000943-09e21b237f2c
	google.golang.org/grpc v1.85.0
	psephos.example/gen/go v0.0.0
)

require (
	golang.org/x/net v0.60.0 // indirect
	golang.org/x/sys v0.48.0 // indirect
	golang.org/x/text v0.42.0 // indirect
	google.golang.org/protobuf v1.36.12 // indirect
)
