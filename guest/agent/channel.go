package main

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// Serves HTTP/2 (prior knowledge) to the host on the virtio port. The host opens one connection in a machine's life; a copy of a machine
// that was saved sees one more, from its own host.
func serveChannel() error {
	var device string
	if err := waitFor("the channel", func() bool { device = findPort("glovebox"); return device != "" }); err != nil {
		return err
	}
	file, err := os.OpenFile(device, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	report("serving the channel")
	return newServer().Serve(&hosts{device: file})
}

func newServer() *http.Server {
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	routes := http.NewServeMux()
	routes.HandleFunc("POST /begin", begin)
	routes.HandleFunc("POST /engine", engine)
	routes.HandleFunc("POST /settle", settle)
	routes.HandleFunc("POST /run", run)
	routes.HandleFunc("POST /file", file)
	routes.HandleFunc("POST /tree", tree)
	routes.HandleFunc("POST /signal", signalRun)
	routes.HandleFunc("POST /trust", trust)
	routes.HandleFunc("POST /connection", nextConnection)
	routes.HandleFunc("POST /dial", dial)
	return &http.Server{
		Protocols:   &protocols,
		ConnContext: withPort,
		HTTP2:       &http.HTTP2Config{MaxConcurrentStreams: 640, MaxReceiveBufferPerStream: 1 << 20, MaxReceiveBufferPerConnection: 16 << 20},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodConnect {
				connect(w, r)
				return
			}
			routes.ServeHTTP(w, r)
		}),
	}
}

// A tunnel to the container engine, and to nothing else. Each side's end of stream is passed on as a half-close.
func connect(w http.ResponseWriter, r *http.Request) {
	if r.Host != "docker" {
		w.WriteHeader(http.StatusForbidden)
		return
	}
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: dockerSocket, Net: "unix"})
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer conn.Close()
	stream := http.NewResponseController(w)
	w.WriteHeader(http.StatusOK)
	if stream.Flush() != nil {
		return
	}
	go func() {
		if _, err := io.Copy(conn, r.Body); err != nil {
			conn.Close() // the host reset the stream
		} else if err := conn.CloseWrite(); err != nil {
			conn.Close()
		}
	}()
	buffer := make([]byte, 32<<10)
	for {
		n, err := conn.Read(buffer)
		if n > 0 {
			if _, err := w.Write(buffer[:n]); err != nil || stream.Flush() != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func findPort(name string) string {
	ports, err := filepath.Glob("/sys/class/virtio-ports/*")
	if err != nil {
		return ""
	}
	for _, dir := range ports {
		if content, err := os.ReadFile(filepath.Join(dir, "name")); err == nil && strings.TrimSpace(string(content)) == name {
			return "/dev/" + filepath.Base(dir)
		}
	}
	return ""
}

// hosts hands out the connection to the host and then waits for its end: a machine without its host has nothing left to do, unless
// it is a copy and another one has greeted.
type hosts struct {
	device  *os.File
	writing sync.Mutex
	current *port
}

func (l *hosts) Accept() (net.Conn, error) {
	if l.current != nil {
		<-l.current.ended
		marker := l.current.greeted.Load()
		if marker == nil {
			return nil, errors.New("the host closed the channel")
		}
		if err := l.answer(*marker); err != nil {
			return nil, err
		}
	}
	l.current = &port{File: l.device, writing: &l.writing, ended: make(chan struct{})}
	return l.current, nil
}

// answer shows the next host where its own conversation begins: what comes before was meant for the last one.
func (l *hosts) answer(marker []byte) error {
	l.writing.Lock()
	defer l.writing.Unlock()
	_, err := l.device.Write(marker)
	return err
}

func (l *hosts) Close() error   { return nil }
func (l *hosts) Addr() net.Addr { return &net.UnixAddr{Name: "guest", Net: "virtio"} }
