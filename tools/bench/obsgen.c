// Origin: written for this project's measurements, before its code; neutral towards every server (see docs/performance.md).
// obsgen HOST PORT N ROUNDS PAUSE_S [PUTPAYLOADLEN]: N observers (one UDP socket each) register on /obs; ROUNDS x PUT /obs, time until all N notified.
// While it registers it polls without sleeping: a server that has to wake it on another core would pay for that.
// prints JSON lines.  After registration prints {"registered":N}; waits for a line on stdin before each round (so the driver can read memory and CPU time, and take turns between servers).
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <stdint.h>
#include <unistd.h>
#include <errno.h>
#include <time.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <netinet/in.h>
#include <arpa/inet.h>
static double now(void){struct timespec t;clock_gettime(CLOCK_MONOTONIC,&t);return t.tv_sec+t.tv_nsec*1e-9;}
static struct sockaddr_in dst;
static int mk(void){int s=socket(AF_INET,SOCK_DGRAM|SOCK_NONBLOCK,0);if(s<0){perror("socket");exit(1);}if(connect(s,(void*)&dst,sizeof dst)){perror("c");exit(1);}return s;}
static int cmp(const void*a,const void*b){double x=*(double*)a,y=*(double*)b;return x<y?-1:x>y;}
int main(int c,char**v){if(c<6)return 2;dst.sin_family=AF_INET;inet_pton(AF_INET,v[1],&dst.sin_addr);dst.sin_port=htons(atoi(v[2]));int N=atoi(v[3]),R=atoi(v[4]);double pause=atof(v[5]);
 struct rlimit rl={N+64,N+64};getrlimit(RLIMIT_NOFILE,&rl);rl.rlim_cur=rl.rlim_max;setrlimit(RLIMIT_NOFILE,&rl);
 int ep=epoll_create1(0);int*fd=calloc(N,sizeof*fd);char*reg=calloc(N,1);int*seen=calloc(N,sizeof*seen);double*lat=calloc(N,sizeof*lat);
 for(int i=0;i<N;i++){fd[i]=mk();struct epoll_event e={EPOLLIN,{.u32=i}};epoll_ctl(ep,EPOLL_CTL_ADD,fd[i],&e);}
 int P=mk();struct epoll_event e={EPOLLIN,{.u32=0xffffffff}};epoll_ctl(ep,EPOLL_CTL_ADD,P,&e);
 uint16_t mid=getpid()*31;struct epoll_event ev[256];uint8_t b[2048];
 double t0=now();int nreg=0,next=0,out=0;double lastp=t0;
 while(nreg<N&&now()-t0<60){
  while(next<N&&out<32){uint8_t m[]={0x44,1,mid>>8,mid,next>>24,next>>16,next>>8,next,0x60,0x53,'o','b','s'};mid++;send(fd[next],m,sizeof m,0);next++;out++;}
  int n=epoll_wait(ep,ev,256,0);
  if(n==0&&now()-lastp>2.5){ for(int i=0;i<next;i++)if(!reg[i]){uint8_t m[]={0x44,1,mid>>8,mid,i>>24,i>>16,i>>8,i,0x60,0x53,'o','b','s'};mid++;send(fd[i],m,sizeof m,0);} lastp=now(); }
  for(int k=0;k<n;k++){int i=ev[k].data.u32;int l=recv(i==-1?P:fd[i],b,sizeof b,0);if(l<4||i<0)continue;lastp=now();
   if(b[1]>>5==2&&!reg[i]){int o=8;int ob=0;if(l>8&&(b[8]>>4)==6)ob=1;/* etag may precede */ if(l>8&&(b[8]>>4)==4){int ll=b[8]&15;o=9+ll;if(o<l&&(b[o]>>4)==2)ob=1;} if(!ob){fprintf(stderr,"no observe in reg resp %02x%02x %02x\n",b[0],b[1],b[8]);}
     reg[i]=1;nreg++;out--;}}
 }
 double tr=now()-t0;printf("{\"registered\":%d,\"sec\":%.4f,\"reg_per_s\":%.0f}\n",nreg,tr,nreg/tr);fflush(stdout);char line[64];
 for(int r=1;r<=R;r++){if(!fgets(line,64,stdin))return 0;char pl[8];snprintf(pl,8,"%05d",r);uint8_t m[64]={0x44,3,mid>>8,mid,'p','u','t',r,0xb3,'o','b','s',0xff};memcpy(m+13,pl,5);mid++;
  int got=0,con=0,non=0,dup=0;double t=now();send(P,m,18,0);double tput=0,tl=t;
  while(now()-t<20&&(got<N)){int n=epoll_wait(ep,ev,256,100);double tn=now();
   for(int k=0;k<n;k++){int i=ev[k].data.u32;int l=recv(i==-1?P:fd[i],b,sizeof b,0);if(l<4)continue;
    if(i==-1){if(!tput)tput=tn-t;continue;}
    int ty=(b[0]>>4)&3;if(b[1]>>5!=2)continue;if(ty==0){uint8_t a[4]={0x60,0,b[2],b[3]};send(fd[i],a,4,0);con++;}else if(ty==1)non++;
    if(l<5||memcmp(b+l-5,pl,5))continue; if(seen[i]==r){dup++;continue;}seen[i]=r;lat[got]=tn-t;got++;tl=tn;}}
  // drain for PAUSE
  double td=now();int late=0;while(now()-td<pause){int n=epoll_wait(ep,ev,256,50);for(int k=0;k<n;k++){int i=ev[k].data.u32;int l=recv(i==-1?P:fd[i],b,sizeof b,0);if(l<4||i==-1)continue;if(((b[0]>>4)&3)==0&&b[1]){uint8_t a[4]={0x60,0,b[2],b[3]};send(fd[i],a,4,0);late++;}}}
  qsort(lat,got,sizeof*lat,cmp);
  printf("{\"round\":%d,\"notified\":%d,\"all_ms\":%.3f,\"p50_ms\":%.3f,\"put_ack_ms\":%.3f,\"con\":%d,\"non\":%d,\"dup\":%d,\"late_con\":%d}\n",r,got,(tl-t)*1e3,got?lat[got/2]*1e3:0,tput*1e3,con,non,dup,late);fflush(stdout);}
 // one more stdin line = exit
 if(fgets(line,64,stdin)){}
 return 0;}
