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
	"sync/atomic"
	"time"
)

// Serves HTTP/2 (prior knowledge) to the host on the virtio port. The host opens one connection in a machine's life; a machine that is
// saved to be copied sees one more, from the host of the copy.
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
	routes.HandleFunc("POST /signal", signalRun)
	return &http.Server{
		Protocols: &protocols,
		HTTP2:     &http.HTTP2Config{MaxConcurrentStreams: 256, MaxReceiveBufferPerStream: 1 << 20, MaxReceiveBufferPerConnection: 16 << 20},
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

// port makes a net.Conn of the device; *os.File has the rest of the methods.
type port struct {
	*os.File
	// Of the device: a write that waits for the next host comes before all that is written for that host.
	writing *sync.Mutex
	started bool
	closed  atomic.Bool
	once    sync.Once
	ended   chan struct{}
}

// The device reads end-of-file while the host's side is not connected: before the first byte that means not yet.
func (p *port) Read(buffer []byte) (int, error) {
	for {
		n, err := p.File.Read(buffer)
		if n > 0 {
			p.started = true
			return n, err
		}
		if p.started || !errors.Is(err, io.EOF) {
			p.closed.Store(true) // before anybody answers to the end
			return n, err
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// What is written after the end would reach the next host, in the middle of its conversation.
func (p *port) Write(content []byte) (int, error) {
	p.writing.Lock()
	defer p.writing.Unlock()
	if p.closed.Load() {
		return 0, net.ErrClosed
	}
	return p.File.Write(content)
}

// The device stays open for the next host.
func (p *port) Close() error {
	p.closed.Store(true)
	p.once.Do(func() { close(p.ended) })
	return nil
}

func (p *port) LocalAddr() net.Addr  { return &net.UnixAddr{Name: "guest", Net: "virtio"} }
func (p *port) RemoteAddr() net.Addr { return &net.UnixAddr{Name: "host", Net: "virtio"} }

// hosts hands out the connection to the host and then waits for its end: a machine without its host has nothing left to do, unless
// it was settled.
type hosts struct {
	device  *os.File
	writing sync.Mutex
	current *port
}

func (l *hosts) Accept() (net.Conn, error) {
	if l.current != nil {
		<-l.current.ended
		marker := settled.Swap(nil)
		if marker == nil {
			return nil, errors.New("the host closed the channel")
		}
		if err := l.greet(*marker); err != nil {
			return nil, err
		}
	}
	l.current = &port{File: l.device, writing: &l.writing, ended: make(chan struct{})}
	return l.current, nil
}

// greet waits for the next host and tells it where its own conversation begins: what comes before was meant for the last one.
func (l *hosts) greet(marker []byte) error {
	l.writing.Lock()
	defer l.writing.Unlock()
	// The present host waits for this line: a machine that is stopped before it has noticed the end of its connection would find itself
	// connected again when it goes on, and never know.
	report("waiting for the next host")
	_, err := l.device.Write(marker)
	return err
}

func (l *hosts) Close() error   { return nil }
func (l *hosts) Addr() net.Addr { return &net.UnixAddr{Name: "guest", Net: "virtio"} }
