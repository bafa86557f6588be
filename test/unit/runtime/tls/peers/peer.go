// Go's crypto/tls as the other side. Usage: peer server <dir> <address> | peer client <dir> <address> <port> <bytes>
//
// server: listens on a free port of that address, prints it, echoes every connection and answers close_notify with close_notify.
// client: sends so many bytes in writes of every size around a record, CloseWrite (half-close), reads to the end, and
// prints "ok" if the same bytes came back.
package main

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"strconv"
)

func main() {
	dir := os.Args[2]
	certificate, err := tls.LoadX509KeyPair(dir+"/chain.pem", dir+"/key.pem")
	check(err)
	pem, err := os.ReadFile(dir + "/root.pem")
	check(err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	config := &tls.Config{
		Certificates:       []tls.Certificate{certificate},
		ClientAuth:         tls.RequireAndVerifyClientCert,
		ClientCAs:          roots,
		MinVersion:         tls.VersionTLS13,
		NextProtos:         []string{"h2"},
		InsecureSkipVerify: true, // there is no host name; the chain is verified below
		VerifyConnection: func(state tls.ConnectionState) error {
			usage := x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}
			_, err := state.PeerCertificates[0].Verify(usage)
			return err
		},
	}
	if os.Args[1] == "server" {
		serve(config, os.Args[3])
	} else {
		dial(config, net.JoinHostPort(os.Args[3], os.Args[4]), os.Args[5])
	}
}

func serve(config *tls.Config, address string) {
	listener, err := tls.Listen("tcp", net.JoinHostPort(address, "0"), config)
	check(err)
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	for {
		connection, err := listener.Accept()
		check(err)
		go func() {
			_, err := io.Copy(connection, connection)
			if err != nil {
				log.Println(err)
			}
			connection.(*tls.Conn).CloseWrite()
			connection.Close()
		}()
	}
}

func dial(config *tls.Config, address string, count string) {
	total, err := strconv.Atoi(count)
	check(err)
	sent := make([]byte, total)
	rand.Read(sent)
	connection, err := tls.Dial("tcp", address, config)
	check(err)
	if protocol := connection.ConnectionState().NegotiatedProtocol; protocol != "h2" {
		log.Fatal("ALPN: ", protocol)
	}
	go func() {
		sizes := []int{1, 2, 16383, 16384, 16385, 100000}
		for at, i := 0, 0; at < total; i++ {
			end := min(at+sizes[i%len(sizes)], total)
			_, err := connection.Write(sent[at:end])
			check(err)
			at = end
		}
		check(connection.CloseWrite())
	}()
	received, err := io.ReadAll(connection)
	check(err)
	if !bytes.Equal(received, sent) {
		log.Fatalf("%d bytes of %d came back, or others", len(received), total)
	}
	fmt.Println("ok")
}

func min(a int, b int) int {
	if a < b {
		return a
	}
	return b
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
