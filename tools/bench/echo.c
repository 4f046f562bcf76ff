// Origin: written for this project's measurements, before its code; neutral towards every server (see docs/performance.md).
// echo.c PORT [mm]: blocking recvfrom/sendto echo; "mm": recvmmsg/sendmmsg. "coap" flag c: answer ACK 2.05 payload hello
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <netinet/in.h>
#include <arpa/inet.h>
#define B 64
int main(int c,char**v){int s=socket(AF_INET,SOCK_DGRAM,0);struct sockaddr_in a={.sin_family=AF_INET,.sin_port=htons(atoi(v[1]))};a.sin_addr.s_addr=htonl(0x7f000001);
 int b=1<<21;setsockopt(s,SOL_SOCKET,SO_RCVBUF,&b,sizeof b);
 if(bind(s,(void*)&a,sizeof a)){perror("bind");return 1;}puts("ready");fflush(stdout);
 if(c>2){static unsigned char buf[B][2048];struct sockaddr_in p[B];struct iovec io[B];struct mmsghdr m[B];
  for(;;){for(int i=0;i<B;i++){io[i].iov_base=buf[i];io[i].iov_len=2048;memset(&m[i],0,sizeof m[i]);m[i].msg_hdr.msg_iov=&io[i];m[i].msg_hdr.msg_iovlen=1;m[i].msg_hdr.msg_name=&p[i];m[i].msg_hdr.msg_namelen=sizeof p[i];}
   int n=recvmmsg(s,m,B,MSG_WAITFORONE,0);if(n<=0)continue;for(int i=0;i<n;i++)io[i].iov_len=m[i].msg_len;int o=0;while(o<n){int r=sendmmsg(s,m+o,n-o,0);if(r<=0)break;o+=r;}}}
 unsigned char buf[2048];struct sockaddr_in p;for(;;){socklen_t l=sizeof p;ssize_t n=recvfrom(s,buf,sizeof buf,0,(void*)&p,&l);if(n>0)sendto(s,buf,n,0,(void*)&p,l);}
}
