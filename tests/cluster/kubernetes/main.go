// One binary with every program of a Kubernetes cluster, chosen by the first argument.
//
// Six separate binaries would link the same libraries six times: 6 x 100 MB and 6 x 25 s of linking on a cold machine.
// Released binaries are not used because nothing but Go modules is needed this way: no download site, no container image.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	// Registers the JSON log format and the client-go metrics, which the released binaries also import for their effects.
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

// kubernetes holds constructors, not commands: each one registers flags and feature gates in process-wide state when it is built, and
// two built in one process clash. So only the chosen one is ever built.
var kubernetes = map[string]func() *cobra.Command{
	"kube-apiserver":          apiserver.NewAPIServerCommand,
	"kube-controller-manager": controllermanager.NewControllerManagerCommand,
	"kube-scheduler":          func() *cobra.Command { return scheduler.NewSchedulerCommand() },
	"kube-proxy":              proxy.NewProxyCommand,
	"kubelet":                 func() *cobra.Command { return kubelet.NewKubeletCommand(context.Background()) },
}

func main() {
	if len(os.Args) < 2 {
		fail("no program named")
	}
	program := os.Args[1]
	// The programs parse os.Args themselves (etcd) or through cobra: both must see a command line that does not hold the choice.
	os.Args = append([]string{filepath.Join(filepath.Dir(os.Args[0]), program)}, os.Args[2:]...)
	if program == "etcd" {
		etcdmain.Main(os.Args)
		return
	}
	construct, known := kubernetes[program]
	if !known {
		fail(fmt.Sprintf("unknown program %q", program))
	}
	os.Exit(cli.Run(construct()))
}

func fail(reason string) {
	fmt.Fprintf(os.Stderr, "%s; one of: etcd kube-apiserver kube-controller-manager kube-scheduler kube-proxy kubelet\n", reason)
	os.Exit(2)
}
