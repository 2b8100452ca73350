package control

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"

	"github.com/uniharmony/uniharmonyfs/internal/advice"
)

// Mount mounts a dataset and returns when it is served. When ctx ends before,
// nothing is mounted.
func (c *Client) Mount(ctx context.Context, req MountRequest, progress func(Progress)) (MountInfo, error) {
	req.ID = rand.Text()
	info, err := call[MountInfo](ctx, c, "/v1/mount", req, progress, nil)
	if ctx.Err() == nil {
		return info, err
	}
	// It may have been ready at that moment, or be so soon.
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.waits.start)
	defer cancel()
	_, err = c.Unmount(last, UnmountRequest{Target: req.Target, ID: req.ID, Force: true})
	return MountInfo{}, errors.Join(advice.New(advice.Interrupted, "interrupted", nil), err)
}

// Hold mounts a dataset and calls mounted when it is served, with the id that it can be
// unmounted by. It returns when the mount is gone, which it is soon after ctx or this
// process ends.
func (c *Client) Hold(ctx context.Context, req HoldRequest, progress func(Progress), mounted func(MountInfo)) error {
	res, err := call[UnmountResult](ctx, c, "/v1/hold", req, progress, func(raw json.RawMessage) error {
		var info MountInfo
		if err := json.Unmarshal(raw, &info); err != nil {
			return c.strange(err)
		}
		mounted(info)
		return nil
	})
	if err == nil && res.Removed {
		err = c.gone(ctx)
	}
	return err
}

// Wait returns when the mount at target is gone.
func (c *Client) Wait(ctx context.Context, target string) error {
	_, err := call[struct{}](ctx, c, "/v1/wait", UnmountRequest{Target: target}, nil, nil)
	return err
}

// Unmount ends a mount. When the cache was removed with it, the daemon is
// gone on return.
func (c *Client) Unmount(ctx context.Context, req UnmountRequest) (UnmountResult, error) {
	res, err := call[UnmountResult](ctx, c, "/v1/unmount", req, nil, nil)
	if err == nil && res.Removed {
		err = c.gone(ctx)
	}
	return res, err
}
