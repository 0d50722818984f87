package main

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"syscall"
)

// What the host is told of a connection; one of the fields is there.
type connectionMessage struct {
	Opened *connectionOpened `json:"opened,omitempty"`
	Failed *connectionFailed `json:"failed,omitempty"`
	// The program writes no more. Without it the connection was broken off.
	Ended bool `json:"ended,omitempty"`
}

type connectionOpened struct {
	// What the program meant to reach: a name or an address. Empty when it talks to the proxy, or was dialled.
	Host string `json:"host"`
	Port int    `json:"port"`
}

type connectionFailed struct {
	Code string `json:"code"`
}

// Connections that the container's programs have made. One is taken out of the kernel's queue ahead of the host's wish.
var accepted = make(chan *net.TCPConn)

func acceptConnections(listener net.Listener) error {
	for {
		conn, err := listener.Accept()
		if errors.Is(err, syscall.ECONNABORTED) {
			continue
		}
		if err != nil {
			return err
		}
		accepted <- conn.(*net.TCPConn)
	}
}

// nextConnection hands the next connection of the container's programs to the host, which asks for as many as it can serve.
func nextConnection(w http.ResponseWriter, r *http.Request) {
	var request struct{}
	if err := readHead(r.Body, maxRequestBytes, &request); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	out := newFrames(w)
	if out.begin() != nil {
		return
	}
	select {
	case conn := <-accepted:
		carry(conn, destination(conn), out, r)
	case <-r.Context().Done():
	}
}

func destination(conn *net.TCPConn) connectionOpened {
	to := conn.LocalAddr().(*net.TCPAddr).AddrPort()
	if to.Addr().Unmap() == netip.AddrFrom4(loopback) && to.Port() == proxyPort {
		return connectionOpened{}
	}
	return connectionOpened{asked.meant(to.Addr()), int(to.Port())}
}

type dialRequest struct {
	Port int `json:"port"`
}

// dial connects the host to a port of the container's loopback.
func dial(w http.ResponseWriter, r *http.Request) {
	var request dialRequest
	if err := readHead(r.Body, maxRequestBytes, &request); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	out := newFrames(w)
	conn, err := dialContainer(request.Port)
	if err != nil {
		out.message(connectionMessage{Failed: &connectionFailed{codeOf(err)}})
		return
	}
	carry(conn, connectionOpened{}, out, r)
}

func dialContainer(port int) (conn *net.TCPConn, err error) {
	runner, err := containerRunner()
	if err != nil {
		return nil, err
	}
	err = inNamespace(runner.pid, "net", syscall.CLONE_NEWNET, func() error {
		dialled, err := net.Dial("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil {
			conn = dialled.(*net.TCPConn)
		}
		return err
	})
	return conn, err
}

// carry moves bytes both ways until both sides have ended. The host's end is that of the request's body; the program's is a message, because
// an answer can't end before the request's handler does.
func carry(conn *net.TCPConn, opened connectionOpened, out *frames, r *http.Request) {
	defer conn.Close()
	out.message(connectionMessage{Opened: &opened})
	hostEnded := make(chan struct{})
	go func() {
		defer close(hostEnded)
		if _, err := io.Copy(conn, r.Body); err != nil || conn.CloseWrite() != nil {
			conn.SetLinger(0) // the program is to see that it was broken off
			conn.Close()
		}
	}()
	buffer := make([]byte, 32<<10)
	for {
		n, err := conn.Read(buffer)
		if n > 0 && out.write(frameStdout, buffer[:n]) != nil {
			return
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return
		}
	}
	out.message(connectionMessage{Ended: true})
	<-hostEnded
}
