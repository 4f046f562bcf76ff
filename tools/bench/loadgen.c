// Origin: written for this project's measurements, before its code; neutral towards every server (see docs/performance.md).
// Added since: -o.
// loadgen.c - neutral CoAP/UDP load generator.  gcc -O2 -o loadgen loadgen.c
// usage: loadgen [opts] HOST PORT
//   -p PATH      uri-path (default hello)        -w N   window (outstanding CON requests)
//   -d SEC       duration                        -n N   stop after N requests
//   -r           raw: do not check the response code (echo servers)
//   -f FILE      replay file: {u16le len, datagram (TKL must be 4)}*, MID+token are rewritten
//   -o FILE      keep every 97th answer: {u32le index of its request, u16le len, datagram}*, to be opened afterwards
//   -x HEX       expected first payload bytes (hex) for a sanity check of non-raw responses
//   -S N         requests per source port before moving to a new port (default 50000: MIDs never repeat
//                within EXCHANGE_LIFETIME for one endpoint)
//   -s           spin: never sleep in poll() (else poll after 100 us without a response)
//   -N           send NON instead of CON
// prints one JSON line.
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <stdint.h>
#include <unistd.h>
#include <errno.h>
#include <time.h>
#include <poll.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <netinet/in.h>
#include <arpa/inet.h>
#define MAXW 1024
#define BATCH 64
static inline double now(void){struct timespec t;clock_gettime(CLOCK_MONOTONIC,&t);return t.tv_sec+t.tv_nsec*1e-9;}
static struct sockaddr_in dst;
static int mksock(void){int s=socket(AF_INET,SOCK_DGRAM|SOCK_NONBLOCK,0);int b=1<<21;setsockopt(s,SOL_SOCKET,SO_RCVBUF,&b,sizeof b);
  if(connect(s,(void*)&dst,sizeof dst)){perror("connect");exit(1);}return s;}
typedef struct{uint32_t tok,idx;double t;int busy;int sock;}slot_t;
static slot_t slots[MAXW];
static float *lat;static size_t nlat,caplat;
static int cmpf(const void*a,const void*b){float x=*(float*)a,y=*(float*)b;return x<y?-1:x>y;}
int main(int argc,char**argv){
  const char*path="hello",*file=0,*expect=0;FILE*keep=0;int W=1;double dur=2;long maxn=-1;int raw=0,non=0,spin=0;long persock=50000;int c;
  while((c=getopt(argc,argv,"p:w:d:n:rf:S:Nx:so:"))!=-1)switch(c){case'p':path=optarg;break;case'w':W=atoi(optarg);break;case'd':dur=atof(optarg);break;
    case'n':maxn=atol(optarg);break;case'r':raw=1;break;case'f':file=optarg;break;case'o':keep=fopen(optarg,"wb");if(!keep){perror(optarg);return 1;}break;case'S':persock=atol(optarg);break;case'N':non=1;break;case'x':expect=optarg;break;case's':spin=1;break;default:return 2;}
  if(argc-optind<2||W>MAXW)return 2;
  dst.sin_family=AF_INET;inet_pton(AF_INET,argv[optind],&dst.sin_addr);dst.sin_port=htons(atoi(argv[optind+1]));
  // template
  uint8_t tmpl[256];size_t tl=0;tmpl[tl++]=(non?0x54:0x44);tmpl[tl++]=1;tl+=2;tl+=4;
  {int prev=0;char buf[200];strncpy(buf,path,199);buf[199]=0;for(char*p=strtok(buf,"/");p;p=strtok(0,"/")){size_t l=strlen(p);
     if(l<13)tmpl[tl++]=((11-prev)<<4)|l;else{tmpl[tl++]=((11-prev)<<4)|13;tmpl[tl++]=l-13;}memcpy(tmpl+tl,p,l);tl+=l;prev=11;}}
  uint8_t*fb=0;size_t fl=0,fo=0;
  if(file){FILE*f=fopen(file,"rb");if(!f){perror(file);return 1;}fseek(f,0,SEEK_END);fl=ftell(f);rewind(f);fb=malloc(fl);if(fread(fb,1,fl,f)!=fl)return 1;fclose(f);}
  int cur=mksock(),old=-1;long onsock=0;uint16_t mid=(uint16_t)time(0)*7919+getpid();
  uint32_t seq=0;long sent=0,done=0,lost=0,badcode=0,stray=0,wrong=0;
  uint8_t ex[64];size_t exl=0;if(expect)for(;expect[2*exl]&&exl<64;exl++){unsigned v;sscanf(expect+2*exl,"%2x",&v);ex[exl]=v;}
  caplat=1<<20;lat=malloc(caplat*sizeof*lat);
  static uint8_t rb[BATCH][2048];static uint8_t sb[BATCH][1500];struct mmsghdr rm[BATCH],sm[BATCH];struct iovec ri[BATCH],si[BATCH];
  memset(rm,0,sizeof rm);memset(sm,0,sizeof sm);
  for(int i=0;i<BATCH;i++){ri[i].iov_base=rb[i];ri[i].iov_len=2048;rm[i].msg_hdr.msg_iov=&ri[i];rm[i].msg_hdr.msg_iovlen=1;
    si[i].iov_base=sb[i];sm[i].msg_hdr.msg_iov=&si[i];sm[i].msg_hdr.msg_iovlen=1;}
  double t0=now(),tend=t0+dur,lastact=t0;int fill=1;int stop=0;long outstanding=0;double tlastcheck=t0;
  int pend[MAXW],npend=0;for(int i=0;i<W;i++)pend[npend++]=i;
  double cpu0=0;(void)cpu0;(void)fill;
  double tstop=0;
  while(1){
    double t=now();
    if(!stop&&(t>=tend||(maxn>=0&&sent>=maxn))){stop=1;tstop=t;}
    if(stop&&(outstanding==0||t-tstop>1.0))break;
    // send
    while(npend&&!stop){
      if(onsock>=persock){if(old>=0)close(old);old=cur;cur=mksock();onsock=0;}
      int k=0;
      while(npend&&k<BATCH&&onsock<persock&&(maxn<0||sent<maxn)){
        int s=pend[--npend];size_t l;uint8_t*b=sb[k];
        if(fb){if(fo+2>fl){maxn=sent;npend++;break;}l=fb[fo]|fb[fo+1]<<8;memcpy(b,fb+fo+2,l);fo+=2+l;}
        else{memcpy(b,tmpl,tl);l=tl;}
        mid++;b[2]=mid>>8;b[3]=mid;uint32_t tok=((seq++)<<10)|s;memcpy(b+4,&tok,4);
        slots[s].tok=tok;slots[s].idx=seq-1;slots[s].t=t;slots[s].busy=1;slots[s].sock=cur;si[k].iov_len=l;k++;onsock++;sent++;outstanding++;
      }
      if(!k)break;
      int o=0;while(o<k){int r=sendmmsg(cur,sm+o,k-o,0);if(r<0){if(errno==EAGAIN||errno==ENOBUFS||errno==ECONNREFUSED){struct pollfd p={cur,POLLOUT,0};poll(&p,1,1);continue;}perror("sendmmsg");return 1;}o+=r;}
    }
    int got=0;
    for(int q=0;q<2;q++){int fd=q?old:cur;if(fd<0)continue;
      int r=recvmmsg(fd,rm,BATCH,MSG_DONTWAIT,0);
      if(r>0){got+=r;t=now();lastact=t;
        for(int i=0;i<r;i++){uint8_t*b=rb[i];size_t l=rm[i].msg_len;if(l<4){stray++;continue;}
          int code=b[1];if(code==0&&!raw)continue; // empty ACK: separate response follows
          if((b[0]&15)!=4||l<8){stray++;continue;}
          uint32_t tok;memcpy(&tok,b+4,4);int s=tok&1023;
          if(s>=W||!slots[s].busy||slots[s].tok!=tok){stray++;continue;}
          if(!raw){ if((code>>5)!=2)badcode++;
            if(exl){ if(l<exl||memcmp(b+l-exl,ex,exl))wrong++; }
            if(((b[0]>>4)&3)==0){uint8_t a[4]={0x60,0,b[2],b[3]};send(fd,a,4,0);} }
          if(keep&&slots[s].idx%97==0){uint32_t ix=slots[s].idx;uint16_t ll=l;fwrite(&ix,4,1,keep);fwrite(&ll,2,1,keep);fwrite(b,1,l,keep);}
          slots[s].busy=0;outstanding--;done++;
          if(nlat==caplat){caplat*=2;lat=realloc(lat,caplat*sizeof*lat);}lat[nlat++]=(float)(t-slots[s].t);
          pend[npend++]=s;
        }}}
    if(!got){
      if(!spin&&now()-lastact>100e-6){struct pollfd p[2]={{cur,POLLIN,0},{old,POLLIN,0}};poll(p,old>=0?2:1,100);}
      if(t-tlastcheck>0.5){tlastcheck=t;for(int s=0;s<W;s++)if(slots[s].busy&&t-slots[s].t>2.0){slots[s].busy=0;outstanding--;lost++;pend[npend++]=s;}}
    } else if(t-tlastcheck>0.5){tlastcheck=t;for(int s=0;s<W;s++)if(slots[s].busy&&t-slots[s].t>2.0){slots[s].busy=0;outstanding--;lost++;pend[npend++]=s;}}
  }
  if(keep)fclose(keep);
  double el=(tstop?tstop:now())-t0; if(lastact>tstop) el=lastact-t0;
  qsort(lat,nlat,sizeof*lat,cmpf);
  printf("{\"rps\":%.1f,\"done\":%ld,\"sent\":%ld,\"lost\":%ld,\"bad\":%ld,\"wrong\":%ld,\"stray\":%ld,\"sec\":%.4f,\"p50_us\":%.1f,\"p99_us\":%.1f}\n",
    done/el,done,sent,lost,badcode,wrong,stray,el,nlat?lat[nlat/2]*1e6:0,nlat?lat[(size_t)(nlat*0.99)]*1e6:0);
  return 0;}
