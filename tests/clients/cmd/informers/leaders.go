package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"

	"kcube.test/clients/internal/check"
	"kcube.test/clients/internal/wire"
)

// candidate runs for the lease until its context ends.
type candidate struct {
	leads, stops chan struct{}
	cancel       context.CancelFunc
}

func run(ctx context.Context, client kubernetes.Interface, lease, name string) (*candidate, error) {
	ctx, cancel := context.WithCancel(ctx)
	c := &candidate{leads: make(chan struct{}), stops: make(chan struct{}), cancel: cancel}
	lock, err := resourcelock.New(resourcelock.LeasesResourceLock, namespace, lease, client.CoreV1(), client.CoordinationV1(), resourcelock.ResourceLockConfig{Identity: name})
	if err != nil {
		return nil, err
	}
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: lock, LeaseDuration: 3 * time.Second, RenewDeadline: 2 * time.Second, RetryPeriod: 300 * time.Millisecond, ReleaseOnCancel: true, Name: lease,
		Callbacks: leaderelection.LeaderCallbacks{OnStartedLeading: func(context.Context) { close(c.leads) }, OnStoppedLeading: func() { close(c.stops) }},
	})
	if err != nil {
		return nil, err
	}
	go elector.Run(ctx)
	return c, nil
}

func within(what string, limit time.Duration, done <-chan struct{}) error {
	select {
	case <-done:
		return nil
	case <-time.After(limit):
		return errors.New(what)
	}
}

func (s *suite) holder(ctx context.Context, lease, want string, transitions int32) error {
	l, err := s.client.CoordinationV1().Leases(namespace).Get(ctx, lease, metav1.GetOptions{})
	if err != nil {
		return err
	}
	if l.Spec.HolderIdentity == nil || l.Spec.LeaseTransitions == nil {
		return fmt.Errorf("a lease without a holder: %v", l.Spec)
	}
	return check.All(check.Equal("holder", *l.Spec.HolderIdentity, want), check.Equal("transitions", *l.Spec.LeaseTransitions, transitions))
}

func (s *suite) handsOver(ctx context.Context) error {
	first, err := run(ctx, s.client, "told", "first")
	if err != nil {
		return err
	}
	if err := within("nobody leads", 5*time.Second, first.leads); err != nil {
		return err
	}
	second, err := run(ctx, s.client, "told", "second")
	if err != nil {
		return err
	}
	defer second.cancel()
	if within("", time.Second, second.leads) == nil {
		return errors.New("two lead")
	}
	if err := s.holder(ctx, "told", "first", 0); err != nil {
		return err
	}
	first.cancel()
	// Sooner than the lease runs out: it was released.
	return check.All(within("the first did not stop", time.Second, first.stops), within("the second does not lead", 1500*time.Millisecond, second.leads), s.holder(ctx, "told", "second", 1))
}

func (s *suite) replaces(ctx context.Context) error {
	cable, by, err := wire.Lay(s.config)
	if err != nil {
		return err
	}
	first, err := run(ctx, kubernetes.NewForConfigOrDie(by), "cut", "first")
	if err != nil {
		return err
	}
	defer first.cancel()
	if err := within("nobody leads", 5*time.Second, first.leads); err != nil {
		return err
	}
	second, err := run(ctx, s.client, "cut", "second")
	if err != nil {
		return err
	}
	defer second.cancel()
	cable.Cut()
	return check.All(within("the second does not lead", 8*time.Second, second.leads), within("the first still leads", 8*time.Second, first.stops), s.holder(ctx, "cut", "second", 1))
}
