package main

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// port makes a net.Conn of the device; *os.File has the rest of the methods.
type port struct {
	*os.File
	// Of the device: what the next host is answered comes before all that is written for that host.
	writing *sync.Mutex
	started bool
	// HTTP/2 reads a few bytes at a time; each reading of the device costs an emulated machine a system call.
	buffer [32 << 10]byte
	unread []byte
	// How much of the end of `unread` may be the beginning of a greeting.
	held     int
	greeting greeting
	closed   atomic.Bool
	// What the next host greeted with, when this machine turned out to be a copy.
	greeted atomic.Pointer[[]byte]
	once    sync.Once
	ended   chan struct{}
}

func (p *port) Read(target []byte) (int, error) {
	for len(p.unread) == p.held {
		if err := p.fill(); err != nil {
			p.closed.Store(true) // before anybody answers to the end
			return 0, err
		}
	}
	n := copy(target, p.unread[:len(p.unread)-p.held])
	p.unread = p.unread[n:]
	return n, nil
}

// The device reads end-of-file while the host's side is not connected: before the first byte that means not yet.
func (p *port) fill() error {
	copy(p.buffer[:], p.unread)
	p.unread = p.buffer[:len(p.unread)]
	for {
		n, err := p.File.Read(p.buffer[len(p.unread):])
		if n > 0 {
			p.started = true
			chunk := p.buffer[len(p.unread) : len(p.unread)+n]
			p.unread = p.buffer[:len(p.unread)+n]
			marker, held := p.greeting.look(settled.Load(), chunk)
			if marker != nil {
				p.greeted.Store(marker)
				return io.EOF
			}
			p.held = min(held, len(p.unread))
			return nil
		}
		if p.started || !errors.Is(err, io.EOF) {
			return err
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

type portKey struct{}

func withPort(ctx context.Context, connection net.Conn) context.Context {
	return context.WithValue(ctx, portKey{}, connection)
}

// isCopied tells, once a request's context is done, whether that is because this machine is a copy now: its own host never asked.
func isCopied(request context.Context) bool {
	p, ok := request.Value(portKey{}).(*port)
	return ok && p.greeted.Load() != nil
}
